model M
param m : real
for n in N:
    latent   a[n] ~ Normal(m, 1)
    latent   b[n] ~ Normal(0, 1)
    observed x[n] ~ Poisson(exp(a[n] + b[n]))
infer a by saem
infer b by mcmc
