model M
for n in N:
    observed x[n] ~ Norml(0, 1)
