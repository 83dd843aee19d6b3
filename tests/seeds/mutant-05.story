# R2: byte 406 of 1 durable records is another one, and is not refused: Some(Torn(Damage { line: 1, byte: 0, why: "the bytes of this record do not match their hash" }))
plan small 5
setup 0 0 0 24549 0 0 61641 59099 53689 0 14421 0 0 25239 0 0 0 0 0 0 0 0 0 0
turn 0
turn 54050 0 0 0 0
