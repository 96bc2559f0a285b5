# Counts with more zeros than a Poisson has: some cannot happen at all (Lambert 1992).
# Plan: immune exact by enumeration, every update a closed form.
model ZeroInflatedPoisson

param zero : unit
param rate : positive

for n in N:
    latent   immune[n] ~ Bernoulli(zero)
    observed y[n]      ~ Delta(0) if immune[n] == 1 else Poisson(rate)
