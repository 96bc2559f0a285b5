model NegativeRate
param mean  : positive
param shape : positive
for n in N:
    observed y[n] ~ Gamma(shape, -shape / mean)
