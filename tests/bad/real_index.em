model M
param m[K] : real
for n in N:
    given g[n] : real
    observed x[n] ~ Normal(m[g[n]], 1)
