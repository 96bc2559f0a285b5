# Hidden states along a sequence, a mixture of Gaussians in each (Juang, Levinson and Sondhi 1986).
# Plan: z exact along the chain, c by enumeration inside each state; every update a closed form.
model GaussianMixtureHMM

size K = 2
size M = 2

param first      : simplex[K]
param trans[K]   : simplex[K]
param part[K]    : simplex[M]
param mean[K, M] : real[D]
param cov[K, M]  : spd[D]

for t in T:
    latent   z[t] ~ Categorical(first) if t == 0 else Categorical(trans[z[t-1]])
    latent   c[t] ~ Categorical(part[z[t]])
    observed x[t] ~ MvNormal(mean[z[t], c[t]], cov[z[t], c[t]])
