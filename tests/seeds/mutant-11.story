# I11: `s1` with a revocation unconfirmed
plan small 594
setup 0 0 48157 38985 56069 0 2325 0 61721 46613 37155 0 31019 0 28611 0 0 0 0 16611 0 0 0 0
turn 36579 0 0
turn
turn 44798 0 0
turn 11580 0 0
