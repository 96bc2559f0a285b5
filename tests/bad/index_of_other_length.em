model M
param m[3] : real
for n in N:
    latent z[n] ~ Categorical([0.5, 0.5])
    observed x[n] ~ Normal(m[z[n]], 1)
