model M
latent k ~ Bernoulli(0.5)
for n in N if n < k:
    observed x[n] ~ Normal(0, 1)
