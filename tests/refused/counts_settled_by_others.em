model CountsSettledByOthers
param s : positive
param q : positive
for g in G:
    latent a[g] ~ Poisson(s)
    for n in N:
        latent   b[g, n] ~ Poisson(q)
        observed y[g, n] ~ Delta(a[g] + b[g, n])
infer a, b by quadrature
