model ProductOfChosenRates
size K = 2
param share : simplex[K]
for k in K: latent r[k] ~ Gamma(2, 2)
for i in N: latent z[i] ~ Categorical(share)
for e in E:
    given a[e] : index[N]
    given b[e] : index[N]
    observed y[e] ~ Poisson(r[z[a[e]]] * r[z[b[e]]])
infer r, z by meanfield
