model M
param a : simplex
param b : spd[D, D]
