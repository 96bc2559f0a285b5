# Fractions from two populations, a Beta for each (solar radiation as a share of a clear day's).
# Plan: z exact by enumeration; weights a closed form, a and b together by Newton, component by component.
model BetaMixture

size K = 2

param weights : simplex[K]
param a[K]    : positive
param b[K]    : positive

for n in N:
    latent   z[n] ~ Categorical(weights)
    observed x[n] ~ Beta(a[z[n]], b[z[n]])
