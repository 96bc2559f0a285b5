model M
param u : unit
param p : positive
for n in N:
    latent z[n] ~ Bernoulli(u)
    latent h[n] ~ Delta(0) if z[n] else Normal(0, p)
    observed y[n] ~ Normal(h[n], 1)
infer z by mcmc
