model M
for n in N:
    observed x[n] ~ Categorical([0.5, 0.6])
