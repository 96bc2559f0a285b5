model M
param a : real
for n in N:
    latent u[n] ~ Normal(a, 1)
    observed x[n] ~ Normal(u[n], 1)
    factor -u[n]^2
