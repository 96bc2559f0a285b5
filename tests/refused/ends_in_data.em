model EndsInData
param s : positive
for g in G:
    given    most[g] : positive
    latent   a[g] ~ Uniform(0, most[g])
    observed y[g] ~ Normal(a[g]^2, s)
