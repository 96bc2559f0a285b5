model TwoDrawnCounts

param a_rate : positive
param b_rate : positive

for n in N:
    latent a[n] ~ Poisson(a_rate)
    latent b[n] ~ Poisson(b_rate)
    observed y[n] ~ Delta(a[n] + b[n])
infer a, b by mcmc
