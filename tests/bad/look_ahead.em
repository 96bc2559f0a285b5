model M
for t in T:
    latent z[t] ~ Normal(0, 1) if t == T - 1 else Normal(z[t+1], 1)
    observed x[t] ~ Normal(z[t], 1)
