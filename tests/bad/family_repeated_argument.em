model M
family F(x : real | x : real) = -x^2
