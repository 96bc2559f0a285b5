model M
for n in N:
    observed x[n] <- Normal(0, 1)
mu <- 3
