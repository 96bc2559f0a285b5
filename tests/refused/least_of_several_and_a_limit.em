model RisksUpToALimit
param rate[2] : positive
for n in N:
    given c[n] : positive
    latent u[n] ~ Exponential(rate[0])
    latent v[n] ~ Exponential(rate[1])
    observed t[n] ~ Delta(min(u[n], min(v[n], c[n])))
