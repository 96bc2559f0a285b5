model two_names
param a, b : real
for n in N:
    observed y[n] ~ Normal(a + b, 1)
