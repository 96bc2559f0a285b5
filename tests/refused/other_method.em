model M
param m : real
for n in N:
    latent   z[n] ~ Normal(m, 1)
    observed x[n] ~ Normal(z[n], 1)
infer z by saem
