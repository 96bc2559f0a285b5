# Counts whose rate follows a hidden state (earthquakes in a year; Zucchini and MacDonald 2009, chapter 3).
# Plan: z exact along the chain, forward and backward; every update a closed form.
model PoissonHMM

size K = 2

param first    : simplex[K]
param trans[K] : simplex[K]
param rate[K]  : positive

for t in T:
    latent   z[t] ~ Categorical(first) if t == 0 else Categorical(trans[z[t-1]])
    observed y[t] ~ Poisson(rate[z[t]])
