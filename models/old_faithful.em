# Mixture of Gaussians, a covariance each (Old Faithful's eruptions). Plan: z exact by enumeration, every update a closed form.
model GaussianMixture

size K = 2

param weights : simplex[K]
param mean[K] : real[D]
param cov[K]  : spd[D]

for n in N:
    latent   z[n] ~ Categorical(weights)
    observed x[n] ~ MvNormal(mean[z[n]], cov[z[n]])
