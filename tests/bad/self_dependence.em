model M
for n in N:
    latent a[n] ~ Normal(a[n], 1)
    observed x[n] ~ Normal(a[n], 1)
