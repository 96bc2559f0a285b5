model FunctionOfALatent
param m : real
param s : positive
for n in N:
    latent   h[n] ~ Normal(0, s)
    latent   twice[n] ~ Delta(2 * h[n] + m)
    observed y[n] ~ Normal(twice[n], 1)
infer twice by meanfield
