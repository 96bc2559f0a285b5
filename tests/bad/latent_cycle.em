model M
for n in N:
    latent a[n] ~ Normal(b[n], 1)
    latent b[n] ~ Normal(a[n], 1)
    observed x[n] ~ Normal(a[n], 1)
