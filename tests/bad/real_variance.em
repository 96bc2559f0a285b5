model M
param m : real
param v : real
for n in N:
    observed x[n] ~ Normal(m, var = v)
