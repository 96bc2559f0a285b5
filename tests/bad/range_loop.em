model M
for i in range(10):
    observed x[i] ~ Normal(0, 1)
for k in 1..K:
    observed z[k] ~ Normal(0, 1)
