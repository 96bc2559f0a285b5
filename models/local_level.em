# A level that drifts, seen with noise (the Nile's yearly flow; Durbin and Koopman 2012, chapter 2).
# Plan: level exact, by elimination along the years (Kalman); both variances in closed form.
model LocalLevel

given start    : real
given start_s2 : positive
param noise    : positive
param drift    : positive

for t in T:
    latent   level[t] ~ Normal(start, var = start_s2) if t == 0 else Normal(level[t-1], var = drift)
    observed flow[t] ~ Normal(level[t], var = noise)
