model M
param a : real
given g : real
let b = 3
for n in N:
    latent u[n] ~ Normal(0, 1)
    observed x[n] ~ Normal(0, 1)
