model M
for n in N:
    size K = 3
    observed x[n] ~ Normal(0, 1)
