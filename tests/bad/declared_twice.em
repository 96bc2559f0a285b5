model M
param a : real
param a : positive
