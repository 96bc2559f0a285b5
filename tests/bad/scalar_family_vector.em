model M
param mu : real[D]
for n in N:
    observed x[n] ~ Normal(mu, 1)
