model M
param a : real
given b : real = a
for n in N:
    observed x[n] ~ Normal(a, b)
