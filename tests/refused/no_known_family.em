model M
param a : positive
for n in N:
    latent   p[n] ~ Beta(a, 2)
    observed x[n] ~ Exponential(p[n])
infer p by exact
