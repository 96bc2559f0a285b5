model M
param b : positive
for s in S:
    latent w[s] ~ Dirichlet(b * ones(T[s]))
    for i in T[s]:
        observed y[s, i] ~ Categorical(w[s])
