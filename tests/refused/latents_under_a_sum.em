model M
param w : real
for n in N:
    for q in Q[n]:
        latent z[n, q] ~ Bernoulli(0.3)
    observed x[n] ~ Bernoulli(logit = sum(w*z[n, q] for q in Q[n]))
