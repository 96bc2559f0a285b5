model other_habits
param p : prob
param k : int
param m[K] : real
for n in 1:N:
    observed w[n] ~ Bernoulli(p)
for n in N:
    given x[n]
    latent z[n] ~ Categorical([p, 1 - p])
    observed y[n] ~ Normal(m[z], 1)
    observed v[n] ~ Normal(2 x[n], 1)
    u[n] ~ N(0, 1)
    observed t[n] ~ Gaussian(0, 1)
    observed s[n] ~ neg(0, 1)
infer exact
