model M
for t in T:
    given u[t] : real
for t in T:
    observed x[t] ~ Normal(u[t+1], 1)
