model EndsInBranches
param s : positive
for g in G:
    given    most[g] : positive
    latent   a[g] ~ Uniform(0, most[g]) if g == 0 else Uniform(0, 1)
    observed y[g] ~ Normal(a[g]^2, s)
