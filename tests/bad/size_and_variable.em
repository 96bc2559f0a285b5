model M
size K = 3
param K : real
