model M
for t in T:
    latent z[t] ~ Normal(0, 1) if t = 0 else Normal(1, 1)
