model M
param b[P] : real
for n in N:
    observed x[n] ~ Normal(max(b), 1)
