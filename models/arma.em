# ARMA(2, 1) about a level, seen with noise, in state space form: a state of two deviations, the last and the one before.
# Plan: s exact, by elimination along the plate (Kalman), its second part without noise; phi and (level, theta) a linear
# solve each, the variances in closed form.
model Arma

given spread : positive
param level  : real
param phi    : real[2]
param theta  : real
param shock  : positive
param noise  : positive

for t in T:
    latent s[t] ~ MvNormal([0, 0], spread * eye(2)) if t == 0 else MvNormal([phi @ s[t-1], s[t-1][0]], diag([shock, 0]))
    observed y[t] ~ Normal(level + s[t][0] + theta * s[t][1], var = noise)
