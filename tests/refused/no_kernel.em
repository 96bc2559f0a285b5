model M
param w : simplex[2]
param m[2] : real
for n in N:
    latent   z[n] ~ Categorical(w)
    observed x[n] ~ Normal(m[z[n]], 1)
infer z by mcmc(kernel = hmc)
