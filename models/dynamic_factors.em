# Many series driven by a few factors that follow an autoregression (Stock and Watson 2011).
# Plan: f exact, by elimination along the plate (Kalman); A and (load, mean) a linear solve each, noise in closed form.
model DynamicFactors

size Q = 2

param A     : real[Q, Q]
param mean  : real[D]
param load  : real[D, Q]
param noise : positive[D]

for t in T:
    latent   f[t] ~ MvNormal(zeros(Q), eye(Q)) if t == 0 else MvNormal(A @ f[t-1], eye(Q))
    observed x[t] ~ MvNormal(mean + load @ f[t], diag(noise))
