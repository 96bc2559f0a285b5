model M
param phi : real
param q   : positive
for t in T:
    latent   s[t] ~ MvNormal([0, 0], eye(2)) if t == 0 else MvNormal([[1, 1], [0, phi]] @ s[t-1], diag([q, 0]))
    observed y[t] ~ Normal(s[t][0], 1)
