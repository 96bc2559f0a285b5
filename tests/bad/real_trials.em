model M
param k : real
for n in N:
    observed x[n] ~ Binomial(k, 0.5)
    observed y[n] ~ Binomial(2.5, 0.5)
