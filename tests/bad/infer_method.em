model M
for n in N:
    latent z[n] ~ Normal(0, 1)
    observed x[n] ~ Normal(z[n], 1)
infer z by menfield
