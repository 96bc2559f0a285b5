model M
for d in D:
    for s in L[d]:
        for w in W[s]:
            observed x[d, s, w] ~ Normal(0, 1)
