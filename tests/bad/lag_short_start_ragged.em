model M
for s in S:
    for t in T[s]:
        observed x[s, t] ~ Normal(0, 1) if t < 6 else Normal(x[s, t-8], 1)
