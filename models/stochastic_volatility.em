# Growth of the US economy by quarter, calmer after 1984: the logarithm of its variance is a chain that is not seen.
# Plan: h is drawn as a whole by Hamiltonian Monte Carlo (SAEM); mean in closed form, level, keep and spread by Newton.
model StochasticVolatility

param mean   : real
param level  : real
param keep   : unit
param spread : positive

for t in T:
    latent   h[t] ~ Normal(level, spread / sqrt(1 - keep^2)) if t == 0 else Normal(level + keep * (h[t-1] - level), spread)
    observed y[t] ~ Normal(mean, exp(h[t] / 2))

infer h by saem
