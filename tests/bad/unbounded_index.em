model M
param m[K] : real
for n in N:
    latent c[n] ~ Poisson(1)
    observed x[n] ~ Normal(m[c[n]], 1)
