model M
param a : real(min = 2, max = 1)
for n in N:
    observed x[n] ~ Normal(a, 1)
