model loop_is_size
given x[n] : real
param b : real
for n in N:
    observed y[n] ~ Normal(b * x[n], 1)
