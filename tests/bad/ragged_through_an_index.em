model M
for c in C:
    for t in T[c]:
        observed w[c, t] ~ Normal(0, 1)
for s in S:
    given g[s] : index[C]
    for t in T[g[s]]:
        observed y[s, t] ~ Normal(w[g[s], t], 1)
