model M
param a : real
for n in N:
    latent zeta[n] ~ Normal(a, 1)
    observed x[n] ~ Normal(zeta[n], 1)
infer a by exact
infer zita by exact
