# One Gaussian of which some cells are missing (ozone, sunlight, wind and temperature in New York, summer of 1973).
# Plan: missing cells are Gaussian given those that were seen, and are integrated out; every update a closed form.
model IncompleteGaussian

param mean : real[D]
param cov  : spd[D]

for n in N:
    observed x[n] ~ MvNormal(mean, cov)
