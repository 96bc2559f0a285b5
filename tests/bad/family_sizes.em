model M
family F(x : real[m] | m : real) = m
family G(x : real | m : real[x]) = sum(m)
family H(x : real | m : real[Q]) = sum(m) + q
