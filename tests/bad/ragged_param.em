model M
for s in S:
    for t in T[s]:
        param a[s, t] : real
        observed x[s, t] ~ Normal(a[s, t], 1)
