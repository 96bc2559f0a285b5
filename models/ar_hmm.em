# A series that depends on its own past, differently in each hidden state (Hamilton 1989); the first value stands alone.
# Plan: z exact along the chain; level and slope by a linear solve, the rest in closed form.
model AutoregressiveHMM

size K = 2

param first    : simplex[K]
param trans[K] : simplex[K]
param level[K] : real
param slope[K] : real
param sd[K]    : positive
given start    : real
given spread   : positive

for t in T:
    latent   z[t] ~ Categorical(first) if t == 0 else Categorical(trans[z[t-1]])
    observed y[t] ~ Normal(start, spread) if t == 0 else Normal(level[z[t]] + slope[z[t]] * y[t-1], sd[z[t]])
