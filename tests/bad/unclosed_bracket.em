model M
param a : real[D
param b : real
for n in N:
    observed x[n] ~ Normal(b, 1)
