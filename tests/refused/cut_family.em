model M
param m : real
for n in N:
    observed x[n] : real(min = 0) ~ StudentT(4, m, 1)
