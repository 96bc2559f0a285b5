model M
size P = Q + 1
size Q = P + 1
param a : real[P, Q]
