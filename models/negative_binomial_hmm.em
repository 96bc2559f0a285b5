# Overdispersed counts whose mean follows a hidden state: a rate for each, drawn from a Gamma (earthquakes again).
# Plan: z exact along the chain and rate, a Gamma, inside each state (hybrid); mean in closed form, shape by Newton.
model NegativeBinomialHMM

size K = 2

param first    : simplex[K]
param trans[K] : simplex[K]
param mean[K]  : positive
param shape[K] : positive

for t in T:
    latent   z[t]    ~ Categorical(first) if t == 0 else Categorical(trans[z[t-1]])
    latent   rate[t] ~ Gamma(shape[z[t]], shape[z[t]] / mean[z[t]])
    observed y[t]    ~ Poisson(rate[t])
