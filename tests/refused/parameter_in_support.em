model M
param top : positive
for n in N:
    observed x[n] ~ Uniform(0, top)
