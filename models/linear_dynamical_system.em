# A linear system seen through noise: states that follow one another linearly (Shumway and Stoffer 1982).
# Plan: h exact, by elimination along the plate (Kalman); A, C and start a linear solve, noise in closed form.
model LinearDynamicalSystem

size Q = 2

param A     : real[Q, Q]
param C     : real[D, Q]
param start : real[Q]
param noise : positive[D]

for t in T:
    latent   h[t] ~ MvNormal(start, eye(Q)) if t == 0 else MvNormal(A @ h[t-1], eye(Q))
    observed x[t] ~ MvNormal(C @ h[t], diag(noise))
