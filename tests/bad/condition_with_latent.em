model M
for n in N:
    latent u[n] ~ Normal(0, 1)
    observed x[n] ~ Normal(0 if u[n] < 0 else 1, 1)
