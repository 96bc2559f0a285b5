# Probit regression by a latent normal of which the sign is seen (beetles under carbon disulphide, weighted by counts).
# Plan: u exact and conjugate, a Normal cut at 0; beta a linear solve.
model ProbitRegression

param beta : real[P]

for n in N:
    given    X[n] : real[P]
    latent   u[n] ~ Normal(X[n] @ beta, 1)
    observed y[n] ~ Delta(u[n] > 0)
