model M
param mu : real[D]
param s2 : positive
for n in N:
    observed x[n] ~ MvNormal(mu, s2)
