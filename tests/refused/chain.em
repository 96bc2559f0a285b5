model M
size K = 2
param a[K] : real
param s : positive
for t in T:
    latent   z[t] ~ Bernoulli(0.5)
    latent   h[t] ~ Normal(0, 1) if t == 0 else Normal(a[z[t]]*h[t-1], 1)
    observed x[t] ~ Normal(h[t], s)
infer z, h by exact
