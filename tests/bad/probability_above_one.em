model M
for n in N:
    observed x[n] ~ Bernoulli(1.5)
