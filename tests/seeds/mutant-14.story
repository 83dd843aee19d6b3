# R2: what a crash left is refused: line 6, byte 1480: record 4 stands where record 6 belongs
plan small 27
setup 0 55699 0 0 0 42735 0 9891 50253 50311 25153 0 0 0 33607 36763 50875 0 0 0 0 0 0 0
turn
turn 584
turn
turn 46677 0 0
