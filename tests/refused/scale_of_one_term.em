model M
param s : positive
for n in N:
    latent   u[n] ~ Gamma(2, 2)
    latent   a[n] ~ Normal(0, 1)
    observed x[n] ~ Normal(a[n], var = s / u[n])
infer u, a by exact
