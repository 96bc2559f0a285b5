# Sequences of symbols, of any lengths, each drawn from its hidden state's own distribution (Rabiner 1989).
# Plan: z exact along the chain, forward and backward; every update a closed form.
model CategoricalHMM

size K = 2

param first     : simplex[K]
param trans[K]  : simplex[K]
param symbol[K] : simplex[V]

for s in S:
    for t in T[s]:
        latent   z[s, t] ~ Categorical(first) if t == 0 else Categorical(trans[z[s, t-1]])
        observed w[s, t] : category[V] ~ Categorical(symbol[z[s, t]])
