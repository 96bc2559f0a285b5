# Counts whose rate differs by person, with a long tail: accidents of women in a factory, weighted by how many had each.
# Plan: rate by quadrature of its logarithm, mean and spread in closed form.
model PoissonLogNormal

param mean   : real
param spread : positive

for n in N:
    latent   rate[n]  ~ LogNormal(mean, spread)
    observed count[n] ~ Poisson(rate[n])
