model M
for n in N:
    observed x[n] ~ Normal(0, 1)
      observed y[n] ~ Normal(0, 1)
  observed w[n] ~ Normal(0, 1)
