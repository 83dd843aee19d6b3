# R2: the closed journal has a flaw: Some(Damaged(Damage { line: 5, byte: 1202, why: "the bytes of this record do not match their hash" }))
plan small 17
setup 0 0 0 0 13493 0 53141 45487 0 1067 0 6123 0 0 0 0 0 0 0 0 0 0 0 0
turn 0
turn 64199 0 0
turn 2249 0 0
turn 0
turn 56494 0 22047 0 0 0 0
