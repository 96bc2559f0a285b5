model M
param th : real
param q  : positive
for t in T:
    latent   s[t] ~ MvNormal([0, 0], eye(2)) if t == 0 else MvNormal(s[t-1], q * outer([q, th], [q, th]))
    observed y[t] ~ Normal(s[t][0], 1)
