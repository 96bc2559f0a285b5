model M
for t in T:
    observed x[t] ~ Normal(0, 1) if t == 0 else Normal(x[t-1] + x[t-2], 1)
