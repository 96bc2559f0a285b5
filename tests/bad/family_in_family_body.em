model M
param c : real
family F(x : real | m : real) = -(x - m)^2 - c
