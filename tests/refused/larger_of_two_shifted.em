# Of k the density has a mass at y: points between two jumps never met it, and the likelihood was told without it.
model Larger
param r : real
for n in N:
    given x[n] : real
    latent h[n] ~ Normal(r, 1.5)
    latent k[n] ~ Normal(r, 0.8)
    observed y[n] ~ Delta(max(h[n] + x[n], k[n]))
