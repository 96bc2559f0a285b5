model M
param cut : real
for n in N:
    given u[n] : real
    observed x[n] ~ Normal(0, 1) if u[n] < cut else Normal(1, 1)
