# Two crossed effects: raters and things rated meet in the data, so that all are one Gaussian.
# Plan: u and v exact, jointly Gaussian; every update a closed form.
model CrossedEffects

param mean : real
param s2_u : positive
param s2_v : positive
param s2   : positive

for i in I:
    latent u[i] ~ Normal(0, var = s2_u)

for j in J:
    latent v[j] ~ Normal(0, var = s2_v)

for n in N:
    given    row[n]    : index[I]
    given    column[n] : index[J]
    observed y[n] ~ Normal(mean + u[row[n]] + v[column[n]], var = s2)
