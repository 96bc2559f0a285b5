model M
param a : real
for n in N:
    observed y[n] ~ Normal(Gamma(1, 1), 2)
