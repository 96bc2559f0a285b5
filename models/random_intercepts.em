# Random intercepts by subject, slopes shared (reaction times after days without sleep).
# Plan: b exact, Gaussian, one per subject; beta a linear solve, the variances in closed form.
model RandomIntercepts

param beta : real[P]
param s2_b : positive
param s2   : positive

for g in G:
    latent b[g] ~ Normal(0, var = s2_b)

for n in N:
    given    X[n]       : real[P]
    given    subject[n] : index[G]
    observed y[n] ~ Normal(X[n] @ beta + b[subject[n]], var = s2)
