# Factor analysis: a few normal factors, a noise variance for each coordinate.
# Plan: y exact, Gaussian; (load, mean) a linear solve, noise in closed form.
model FactorAnalysis

size Q = 2

param mean     : real[D]
param load     : real[D, Q]
param noise    : positive[D]

for n in N:
    latent   y[n] ~ MvNormal(zeros(Q), eye(Q))
    observed x[n] ~ MvNormal(mean + load @ y[n], diag(noise))
