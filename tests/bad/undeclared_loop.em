model M
for n in N:
    latent z[n] ~ Normal(0, 1)
for m in P:
    observed x[m] ~ Normal(z[n], 1)
