# Probabilistic principal components (Tipping and Bishop 1999): factors with one noise variance for all coordinates.
# Plan: y exact, Gaussian; (load, mean) a linear solve, s2 in closed form.
model ProbabilisticPCA

size Q = 1

param mean : real[D]
param load : real[D, Q]
param s2   : positive

for n in N:
    latent   y[n] ~ MvNormal(zeros(Q), eye(Q))
    observed x[n] ~ MvNormal(mean + load @ y[n], s2 * eye(D))
