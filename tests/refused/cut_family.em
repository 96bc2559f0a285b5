model M
param m : real
for n in N:
    observed x[n] : real(min = 0) ~ VonMises(m, 1)
