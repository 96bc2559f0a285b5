model M
family F(x : real | m : real) = -(x - m)^2
family F(x : real | m : real) = -(x - m)^4
