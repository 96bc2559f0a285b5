# Hidden states along a sequence of vectors, Gaussian in each state (eruptions of Old Faithful, in their order).
# Plan: z exact along the chain, forward and backward; every update a closed form.
model GaussianHMM

size K = 2

param first    : simplex[K]
param trans[K] : simplex[K]
param mean[K]  : real[D]
param sd[K]    : positive[D]

for t in T:
    latent   z[t] ~ Categorical(first) if t == 0 else Categorical(trans[z[t-1]])
    observed x[t] : real[D] ~ Normal(mean[z[t]], sd[z[t]])
