# Level, slope and season of a quarterly series, each drifting (Harvey 1989).
# Plan: level, slope and season exact, jointly, by elimination along the plate (Kalman); every variance in closed form.
model StructuralSeries

given start   : real
given spread  : positive
param noise   : positive
param drift   : positive
param bend    : positive
param turn    : positive

for t in T:
    latent level[t]  ~ Normal(start, var = spread) if t == 0 else Normal(level[t-1] + slope[t-1], var = drift)
    latent slope[t]  ~ Normal(0, var = spread) if t == 0 else Normal(slope[t-1], var = bend)
    latent season[t] ~ Normal(0, var = spread) if t < 3 else Normal(-season[t-1] - season[t-2] - season[t-3], var = turn)
    observed y[t] ~ Normal(level[t] + season[t], var = noise)
