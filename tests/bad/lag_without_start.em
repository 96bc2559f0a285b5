model M
for t in T:
    latent z[t] ~ Normal(z[t-1], 1)
    observed x[t] ~ Normal(z[t], 1)
