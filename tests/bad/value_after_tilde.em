model M
param a : real
for n in N:
    observed x[n] ~ a + 1
