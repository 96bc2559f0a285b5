model M
param w : positive[K]
for n in N:
    observed x[n] ~ Categorical(w)
