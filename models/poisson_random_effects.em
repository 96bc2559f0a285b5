# Poisson regression with an intercept by group: seizures of 59 people in four periods, with and without a drug.
# Plan: b by quadrature, one dimension a person; beta by Newton, tau in closed form.
model PoissonRandomEffects

param beta : real[P]
param tau  : positive

for g in G:
    latent b[g] ~ Normal(0, tau)

for n in N:
    given    X[n]     : real[P]
    given    group[n] : index[G]
    observed y[n] ~ Poisson(log_rate = X[n] @ beta + b[group[n]])
