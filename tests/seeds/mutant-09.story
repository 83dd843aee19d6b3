# I6: a do of `s0` begins under a hold
plan small 60
setup 0 0 0 0 9283 57953 7807 40829 0 0 19733 46981 0 0 31093 0 55365 0 0 0 0 0 0 0
turn 14669
turn 27783
