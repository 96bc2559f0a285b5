model M
param a : real
for n in N:
    observed y[n] ~ Delta(a, 1)
