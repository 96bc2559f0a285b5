# Random intercepts and slopes by subject (reaction times after days without sleep; Belenky et al. 2003).
# Plan: b exact, Gaussian, one per subject; every update a closed form.
model RandomSlopes

param beta : real[2]
param cov  : spd[2]
param s2   : positive

for g in G:
    latent b[g] ~ MvNormal(beta, cov)

for n in N:
    given    day[n]     : real
    given    subject[n] : index[G]
    observed y[n] ~ Normal(b[subject[n], 0] + b[subject[n], 1] * day[n], var = s2)
