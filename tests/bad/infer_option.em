model M
for n in N:
    latent z[n] ~ Normal(0, 1)
    latent y[n] ~ Normal(0, 1)
    latent w[n] ~ Normal(0, 1)
    observed x[n] ~ Normal(z[n] + y[n] + w[n], 1)
infer z by mcmc(kernl = gibbs)
infer y by mcmc(kernel = gibs)
infer w by saem(warm = 0.5)
