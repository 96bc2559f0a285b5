model M
given a : positive = -1
given b : unit = 2
given c : count = 1.5
given d : bool = 3
for n in N:
    observed x[n] ~ Normal(a + b + c + d, 1)
