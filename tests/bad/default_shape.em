model M
given b : real[3] = [1, 2]
for n in N:
    observed x[n] ~ Normal(b[0], 1)
