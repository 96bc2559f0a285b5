# Trunks of orange trees: logistic growth whose asymptote differs by tree (Draper and Smith 1998; R's `Orange`).
# Plan: the log asymptote of each tree is drawn by slice sampling (SAEM), its distribution in closed form, the curve by Newton.
model NonlinearGrowth

param top    : real
param spread : positive
param middle : positive
param pace   : positive
param s2     : positive

for t in T:
    latent asymptote[t] ~ Normal(top, spread)

for n in N:
    given    tree[n]  : index[T]
    given    age[n]   : real
    observed trunk[n] ~ Normal(exp(asymptote[tree[n]]) / (1 + exp((middle - age[n]) / pace)), var = s2)

infer asymptote by saem
