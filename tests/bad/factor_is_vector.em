model M
param a : real[D]
factor -a^2
