model M
for s in S:
    for t in T[s]:
        observed x[s, t] ~ Normal(0, 1)
param a[T] : real
