# Two parabolas in one cloud of points, which one a point belongs to unknown (flexmix's NPreg).
# Plan: z exact by enumeration, coef a linear solve, the rest closed forms.
model MixtureOfRegressions

size K = 2

param weights : simplex[K]
param coef[K] : real[3]
param sd[K]   : positive

for n in N:
    given    x[n] : real
    let      powers[n] = [1, x[n], x[n]^2]
    latent   z[n] ~ Categorical(weights)
    observed y[n] ~ Normal(powers[n] @ coef[z[n]], sd[z[n]])
