model M
param a : real
for n in N:
    observed y[n] ~ Normal(a, sd = 1, sd = 2)
