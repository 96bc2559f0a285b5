model M
param p : unit
for n in N:
    observed y[n] : category[3] ~ Bernoulli(p)
    observed c[n] : category[3] ~ Poisson(2)
    observed b[n] : bool ~ Binomial(2, p)
