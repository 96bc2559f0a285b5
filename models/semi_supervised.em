# A Gaussian mixture of which some rows come with their class (O'Neill 1978); the others' classes are summed over.
# Plan: z, where it is missing, exact by enumeration; every update a closed form.
model SemiSupervised

size K = 2

param weights : simplex[K]
param mean[K] : real[D]
param cov[K]  : spd[D]

for n in N:
    observed z[n] : category[K] ~ Categorical(weights)
    observed x[n] ~ MvNormal(mean[z[n]], cov[z[n]])
