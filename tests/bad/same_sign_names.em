model M
param mu : real
param μ : real
param a_0 : real
param a0 : real
param foo_0 : real
param foo0 : real
for n in N: observed x[n] ~ Normal(mu + μ + a_0 + a0 + foo_0 + foo0, 1)
