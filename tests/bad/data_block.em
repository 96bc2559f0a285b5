model M
data x : real
