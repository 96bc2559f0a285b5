model BoundOfEach
given lo[K] : real
for k in K: param m[k] : real ~ Uniform(lo[k], 9)
for n in N:
    observed x[n] ~ Normal(m[0], 3)
