model M
for n in N:
    observed x[n] ~ Normal(0, 1)
for m in P:
	observed y[m] ~ Normal(0, 1)
