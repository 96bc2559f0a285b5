# Logistic regression with an intercept by group: cases of pleuropneumonia among the cattle of 15 herds.
# Plan: b by quadrature, one dimension a herd; beta by Newton, tau in closed form.
model LogisticRandomEffects

param beta : real[P]
param tau  : positive

for g in G:
    latent b[g] ~ Normal(0, tau)

for n in N:
    given    X[n]     : real[P]
    given    group[n] : index[G]
    given    size[n]  : count
    observed cases[n] ~ Binomial(size[n], logit = X[n] @ beta + b[group[n]])
