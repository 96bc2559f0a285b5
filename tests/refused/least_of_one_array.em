model RisksOfOneArray
param scale[2] : positive
for n in N:
    for k in 2:
        latent life[n, k] ~ Weibull(1.5, scale[k])
    observed t[n] ~ Delta(min(life[n, 0], life[n, 1]))
