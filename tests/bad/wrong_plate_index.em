model M
for n in N:
    observed z[m] ~ Normal(0, 1)
