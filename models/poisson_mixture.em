# Mixture of Poisson counts (earthquakes in a year). Plan: z exact by enumeration, every update a closed form.
model PoissonMixture

size K = 2

param weights : simplex[K]
param rate[K] : positive

for n in N:
    latent   z[n] ~ Categorical(weights)
    observed y[n] ~ Poisson(rate[z[n]])
