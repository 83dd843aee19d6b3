# I7: `s0` is undone, and `s3[x]`, which needs it, is Running(Job { step: StepId(3), way: Do, attempt: 1 })
plan small 85
setup 0 55051 0 26887 0 49873 0 0 0 0 0 0 0 28433 40711 3465 0 0 0 0 0 0 0 0
turn
turn 31716
turn 14036
turn 0
turn 7359 0
turn 0
turn 39920 0 0 26039 0 0
turn 53176 0
