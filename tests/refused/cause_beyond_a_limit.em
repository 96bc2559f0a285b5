model CauseBeyondALimit
param rate[2] : positive
for n in N:
    given c[n] : positive
    latent u[n] ~ Exponential(rate[0])
    latent v[n] ~ Exponential(rate[1])
    observed t[n] ~ Delta(min(u[n], min(v[n], c[n])))
    observed first[n] ~ Delta(u[n] < v[n])
