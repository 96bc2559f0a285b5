model M
param a : real
param b : real(min = a)
for n in N:
    observed x[n] ~ Normal(a, exp(b))
