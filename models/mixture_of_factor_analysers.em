# Mixture of factor analysers (Ghahramani and Hinton 1996): a plane of factors in each class, noise shared.
# Plan: z by enumeration, y Gaussian inside each class (hybrid); (load, mean) a linear solve, the rest in closed form.
model MixtureOfFactorAnalysers

size K = 2
size Q = 1

param weights : simplex[K]
param mean[K] : real[D]
param load[K] : real[D, Q]
param noise   : positive[D]

for n in N:
    latent   z[n] ~ Categorical(weights)
    latent   y[n] ~ MvNormal(zeros(Q), eye(Q))
    observed x[n] ~ MvNormal(mean[z[n]] + load[z[n]] @ y[n], diag(noise))
