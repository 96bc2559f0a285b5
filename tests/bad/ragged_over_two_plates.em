model M
for s in 2:
    for t in T[s]:
        observed x[s, t] ~ Normal(0, 1)
for r in 3:
    for t in T[r]:
        observed y[r, t] ~ Normal(0, 1)
