model M
for n in N:
    latent z[n] ~ Normal(sum(z[j] for j in N if j != n), 1)
    observed y[n] ~ Normal(z[n], 1)
