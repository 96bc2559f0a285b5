model M
param m : real[3]
param S : spd[2]
for n in N:
    observed x[n] ~ MvNormal(m, S)
