model M
param a
