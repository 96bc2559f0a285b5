model M
param w : real[K]
for n in N:
    observed x[n] ~ Categorical(w)
