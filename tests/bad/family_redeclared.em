model M
family Normal(x : real | m : real) = -(x - m)^2
