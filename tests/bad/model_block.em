model coins:
    param p : unit
    for n in N:
        observed y[n] ~ Bernoulli(p)
