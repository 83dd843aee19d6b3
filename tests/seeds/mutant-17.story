# I20: the plan without what is out is not proved: `ocsp` can be down to 0 of 3, fewer than 1: while `s3` is under way
plan small 202
setup 0 26895 0 11583 18585 0 6063 6385 0 48409 0 0 0 12669 57087 0 0 0 0 0 0 0 0 0
turn 52770 0 15895 40863
