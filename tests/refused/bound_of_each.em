model BoundOfEach
given on[K] : bool
given hi[K] : real
for k in K if on[k]: param m[k] : real(max = hi[k])
for n in N:
    observed x[n] ~ Normal(sum(m[k] for k in K if on[k]), 3)
