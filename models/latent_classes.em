# Latent classes of people by their yes and no to I items (LSAT 6, answer patterns weighted by their counts).
# Plan: z exact by enumeration, every update a closed form.
model LatentClasses

size K = 2

param weights : simplex[K]
param yes[K]  : unit[I]

for n in N:
    latent z[n] ~ Categorical(weights)
    for i in I:
        observed x[n, i] ~ Bernoulli(yes[z[n], i])
