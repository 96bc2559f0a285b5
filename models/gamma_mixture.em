# Positive measurements from two populations, a Gamma for each (the waiting times of Old Faithful).
# Plan: z exact by enumeration; rate in closed form, shape by Newton on the profile over it.
model GammaMixture

size K = 2

param weights  : simplex[K]
param shape[K] : positive
param rate[K]  : positive

for n in N:
    latent   z[n] ~ Categorical(weights)
    observed x[n] ~ Gamma(shape[z[n]], rate[z[n]])
