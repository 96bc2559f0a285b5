model M
given a : real ~ Normal(0, 1)
