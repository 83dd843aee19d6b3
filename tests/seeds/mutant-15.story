# I7: the rollback passes over `s0[y]`, Running(Job { step: StepId(1), way: Do, attempt: 1 })
plan small 12
setup 0 6997 56053 0 0 60841 0 0 0 19541 0 17939 0 0 28465 55697 18923 45077 0 0 0 0 0 0
turn 0 0
turn 32086 0 0
turn 11064
