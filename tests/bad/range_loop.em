model M
for i in range(10):
    observed x[i] ~ Normal(0, 1)
