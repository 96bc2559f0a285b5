model M
param a : real
for n in N:
    observed y[n] ~ Normal(a, 1)
for m in Ν:
    observed x[m] ~ Normal(a, 1)
for ο in K:
    for o in N if o < 2:
        observed z[ο, o] ~ Normal(a, 1)
