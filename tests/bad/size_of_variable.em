model M
param a : real
param b[a] : real
