model M
param n : real
for n in N:
    observed x[n] ~ Normal(0, 1)
