model M
param k : count
for n in N:
    observed x[n] ~ Poisson(k + 1)
