model M
for n in N:
    observed x[n] ~ Normal(mean = 0, 1)
