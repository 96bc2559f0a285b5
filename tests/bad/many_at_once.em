model M
param a : reel
param b : real
let c = b **2
for n in N:
    latent z[n] ~ Categorcal(w)
    observed x[n] ~ Normal(mu, b)
infer q by exact
