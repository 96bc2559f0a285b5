# A level that drifts by one of two rules, which themselves follow a Markov chain.
# Plan: by mean-field, a factor for each chain, for both are exact together in short series alone; all a closed form.
model SwitchingLinearSystem

size K = 2

param stay[K]  : simplex[K]
param slope[K] : real
param drift[K] : positive
param noise    : positive

for t in T:
    latent   rule[t]  ~ Categorical(ones(K) / K) if t == 0 else Categorical(stay[rule[t-1]])
    latent   level[t] ~ Normal(0, 10) if t == 0 else Normal(slope[rule[t]] * level[t-1], var = drift[rule[t]])
    observed y[t]     ~ Normal(level[t], var = noise)

infer (rule), (level) by meanfield
