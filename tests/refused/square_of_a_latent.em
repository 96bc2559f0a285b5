model M
param s : positive
for t in T:
    latent   b[t] ~ Normal(0, 1)
    latent   l[t] ~ Normal(0, 1) if t == 0 else Delta(l[t-1]^2 + b[t])
    observed y[t] ~ Normal(l[t], s)
