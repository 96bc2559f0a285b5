# Overdispersed counts: a rate for each, drawn from a Gamma (Greenwood and Yule 1920).
# Plan: rate exact, conjugate (Gamma); mean in closed form, shape by Newton.
model NegativeBinomialByRates

param mean  : positive
param shape : positive

for n in N:
    latent   rate[n] ~ Gamma(shape, shape / mean)
    observed y[n]    ~ Poisson(rate[n])
