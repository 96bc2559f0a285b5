# Classes of growth curves: a class per subject, a Gaussian intercept and slope inside it (reaction times again).
# Plan: z by enumeration, b Gaussian inside each class (hybrid); every update a closed form.
model GrowthMixture

size K = 2

param weights : simplex[K]
param mean[K] : real[2]
param cov     : spd[2]
param s2      : positive

for g in G:
    latent z[g] ~ Categorical(weights)
    latent b[g] ~ MvNormal(mean[z[g]], cov)
    for t in T:
        given    day[g, t] : real
        observed y[g, t] ~ Normal(b[g, 0] + b[g, 1] * day[g, t], var = s2)
