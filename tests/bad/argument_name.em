model M
for n in N:
    observed x[n] ~ Normal(0, sigma = 1)
