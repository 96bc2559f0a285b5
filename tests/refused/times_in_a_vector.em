model CompetingVector
size J = 2
param shape : positive[J]
param scale : positive[J]
for n in N:
    latent t[n] : positive[J] ~ Weibull(shape, scale)
    observed time[n] ~ Delta(min(t[n, 0], t[n, 1]))
    observed which[n] ~ Delta(t[n, 1] < t[n, 0])
