model M
family F(x : real[D] | m : real[Q]) = -sum((x - m)^2)
