model M
param c : real
for n in N:
    latent   u[n] ~ Normal(0, 1)
    observed k[n] ~ Delta(u[n] > c)
    observed y[n] ~ Normal(u[n], 1)
