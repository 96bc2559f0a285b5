model M
param a : real
for n in N:
    latent u[n] ~ Normal(0, 1)
    observed x[n] ~ Normal(u[n], 1)
    factor -a*u[n]^2
