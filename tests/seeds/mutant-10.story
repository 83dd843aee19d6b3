# I12: `s2` opened by {"both"} alone
plan small 34
setup 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
