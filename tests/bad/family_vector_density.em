model M
family F(x : real[D] | m : real) = -(x - m)^2
