model M
param a : real
for t in T:
    latent h[t] ~ Normal(0, 1) if t < 20000 else Normal(a * h[t-20000], 1)
    observed x[t] ~ Normal(h[t], 1)
