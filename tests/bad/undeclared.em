model M
param sigma : positive
for n in N:
    observed x[n] ~ Normal(0, sigmo)
