# I5: `s1` is Doubt by the records, and called Done
plan small 9
setup 0 0 0 957 0 0 49145 55203 0 0 64013 11751 13149 24413 0 0 0 41107 0 0 0 0 0 0
turn 0 0 0
turn 37738 0 0 0 0 0
