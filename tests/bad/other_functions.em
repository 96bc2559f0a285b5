model other_functions
param a : real[3]
param b : real[3]
param S : spd[3]
for n in N:
    observed u[n] ~ Normal(dot(a, b), 1)
    observed v[n] ~ Bernoulli(inv_logit(a[0]))
    observed w[n] ~ Normal(ifelse(a[0] > 0, 1, 2), det(S))
    observed x[n] ~ Normal(t(a), pow(a[1], 2))
    observed y[n] ~ Normal(mean(a), 1)
