model M
param w : simplex[K]
for n in N:
    observed x[n] ~ Normal(w, 1)
