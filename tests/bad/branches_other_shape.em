model M
for n in N:
    observed x[n] ~ Normal(0, 1) if n == 0 else MvNormal([0, 0], eye(2))
