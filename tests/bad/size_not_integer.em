model M
param a : real[2.5]
