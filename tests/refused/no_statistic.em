model M
param s : positive
for n in N:
    latent   w[n] ~ Normal(0, s)
    observed y[n] ~ Bernoulli(logistic(w[n]))
infer w by exact
