# I5: `s2` is Half by the records, and called Clean
plan small 89
setup 0 32021 0 11647 17027 46515 20607 33425 5831 0 10711 48961 50143 0 0 0 24175 0 33923 0 0 0 0 0
turn 46202
turn 30815 14047
turn 0 0
turn 0 0 0
turn 11444 0 0
turn
turn 0
turn 43856 0 55841 17276 0
