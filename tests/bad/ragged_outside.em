model M
for t in T[s]:
    observed x[t] ~ Normal(0, 1)
