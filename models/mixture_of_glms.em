# Counts from two Poisson regressions, which one a row belongs to unknown (flexmix's NPreg, its column yp).
# Plan: z exact by enumeration; weights a closed form, coef by Newton, an X'WX for each component.
model MixtureOfGLMs

size K = 2

param weights : simplex[K]
param coef[K] : real[P]

for n in N:
    given    X[n] : real[P]
    latent   z[n] ~ Categorical(weights)
    observed y[n] ~ Poisson(log_rate = X[n] @ coef[z[n]])
