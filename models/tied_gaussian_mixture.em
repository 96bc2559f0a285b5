# Mixture of Gaussians that share one covariance. Plan: z exact by enumeration, every update a closed form.
model TiedGaussianMixture

size K = 2

param weights : simplex[K]
param mean[K] : real[D]
param cov     : spd[D]

for n in N:
    latent   z[n] ~ Categorical(weights)
    observed x[n] ~ MvNormal(mean[z[n]], cov)
