model M
for n in N:
    for n in P:
        observed x[n, n] ~ Normal(0, 1)
