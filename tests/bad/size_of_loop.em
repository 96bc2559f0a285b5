model M
for n in N:
    observed x[n] : real[n] ~ Normal(0, 1)
