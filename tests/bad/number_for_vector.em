model M
param u : real[D]
for n in N:
    observed x[n] ~ MvNormal(0, eye(D))
    observed y[n] ~ MvNormal(u, u)
