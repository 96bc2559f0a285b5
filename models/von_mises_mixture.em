# Directions with two preferred ones, a circular normal for each (Mardia and Jupp 2000); angles in radians.
# Plan: z exact by enumeration; weights and mean closed forms, concentration by Newton.
model VonMisesMixture

size K = 2

param weights          : simplex[K]
param mean[K]          : real
param concentration[K] : positive

for n in N:
    latent   z[n] ~ Categorical(weights)
    observed x[n] ~ VonMises(mean[z[n]], concentration[z[n]])
