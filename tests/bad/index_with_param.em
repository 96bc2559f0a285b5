model M
param k : unit
param p[2] : real
let side = not k
for n in N:
    given g[n] : count
    observed x[n] ~ Normal(p[k > 0.5] + p[side], 1)
    observed y[n] ~ Normal(p[g[n] > 2], 1)
