model M
param s : positive
for n in N:
    latent   a[n] ~ Normal(0, 1)
    latent   b[n] ~ Normal(0, 1)
    observed x[n] ~ Normal(a[n]*b[n], s)
infer a, b by exact
