model Skellam
param a : positive
param b : positive
for n in N:
    latent u[n] ~ Poisson(a)
    latent v[n] ~ Poisson(b)
    observed y[n] ~ Delta(u[n] - v[n])
