# Mixture of wave heights, with a family that the user declares by its log density alone.
# Plan: z exact by enumeration, every update a closed form.
model RayleighMixture

size K = 2

family Rayleigh(x : positive | s : positive) = log(x) - 2*log(s) - x^2 / (2*s^2)

param weights  : simplex[K]
param scale[K] : positive

for n in N:
    latent   z[n] ~ Categorical(weights)
    observed h[n] ~ Rayleigh(scale[z[n]])
