model M
param a : real
param s : positive
for t in T:
    latent   h[t] ~ Normal(0, 1) if t == 0 else Normal(a*h[t-1], 1)
    observed x[t] ~ Normal(h[t], s)
