# A regression whose coefficients change with a hidden state that tends to stay (Goldfeld and Quandt 1973).
# Plan: z exact along the chain; coef by a linear solve, the rest in closed form.
model SwitchingRegression

size K = 2

param first    : simplex[K]
param trans[K] : simplex[K]
param coef[K]  : real[P]
param sd[K]    : positive

for t in T:
    given    X[t] : real[P]
    latent   z[t] ~ Categorical(first) if t == 0 else Categorical(trans[z[t-1]])
    observed y[t] ~ Normal(X[t] @ coef[z[t]], sd[z[t]])
