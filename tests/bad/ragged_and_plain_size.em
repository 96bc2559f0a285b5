model M
size T = 3
for s in S:
    for t in T[s]:
        observed x[s, t] ~ Normal(0, 1)
