model M
size K = 0
param a[K] : real
