model M
size K = 4
param b[K / 2] : real
