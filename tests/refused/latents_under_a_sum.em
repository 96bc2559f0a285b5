model M
param w[Q] : real
for n in N:
    for q in Q:
        latent z[n, q] ~ Bernoulli(0.3)
    observed x[n] ~ Bernoulli(logit = sum(w[q]*z[n, q] for q in Q))
