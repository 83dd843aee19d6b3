# I2: record 6 is not durable (that is 4), and its deed begins: Do of `s2[x]`
plan small 17
setup 0 0 0 0 13493 0 53141 45487 0 1067 0 6123 0 0 0 0 0 0 0 0 0 0 0 0
turn 0 0 0
turn 2249 0 0
turn 0
turn 56494 0
