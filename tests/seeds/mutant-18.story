# I19: Do of `s0` leaves 0 of ocsp
plan small 4
setup 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
