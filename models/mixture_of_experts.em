# Regressions, and a softmax regression that says which of them a row follows (Jordan and Jacobs 1994).
# Plan: z exact by enumeration; coef a linear solve, sd a closed form, gate by Newton over the data.
model MixtureOfExperts

size K = 2

param gate[K] : real[P] ~ Normal(0, 10)
param coef[K] : real[P]
param sd[K]   : positive

for n in N:
    given    X[n] : real[P]
    latent   z[n] ~ Categorical(logits = gate @ X[n])
    observed y[n] ~ Normal(X[n] @ coef[z[n]], sd[z[n]])
