model M
param a : real = 3
