# A line between what is measured twice with error and what follows from it (Fuller 1987, section 1.2).
# Plan: truth exact, Gaussian; (a, b) a linear solve, mean and the variances in closed form.
model MeasurementError

param mean : real
param s2   : positive
param a    : real
param b    : real
param s2_x : positive
param s2_y : positive

for n in N:
    latent truth[n] ~ Normal(mean, var = s2)
    for r in R:
        observed x[n, r] ~ Normal(truth[n], var = s2_x)
    observed y[n] ~ Normal(a + b * truth[n], var = s2_y)
