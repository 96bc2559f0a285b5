model M
param a​b : real
