model M
param a : unit
param b : unit
for n in N:
    observed x[n] ~ Categorical([a, a, 1 - a])
    observed y[n] ~ Categorical([a*b, a*(1 - b), 1 - a])
    observed z[n] ~ Categorical([a, b])
