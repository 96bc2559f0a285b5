# Mixture of Gaussians, independent coordinates. Plan: z exact by enumeration, every update a closed form.
model DiagonalGaussianMixture

size K = 2

param weights : simplex[K]
param mean[K] : real[D]
param sd[K]   : positive[D]

for n in N:
    latent   z[n] ~ Categorical(weights)
    observed x[n] : real[D] ~ Normal(mean[z[n]], sd[z[n]])
