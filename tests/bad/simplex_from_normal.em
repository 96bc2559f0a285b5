model M
param a : positive
for n in N:
    observed x[n] : count ~ Normal(0, a)
