model M
let c = 0
let d = 9^9^9^9
param m : real
for n in N:
    observed y[n] ~ Normal(m + 1 / c, 1 + exp(1000))
    observed x[n] ~ Normal((-8)^(1/3) + sqrt(1 - 2), 3 - 4)
