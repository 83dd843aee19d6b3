# I2: record Some(12) was acknowledged and is not durable
plan small 1
setup 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
