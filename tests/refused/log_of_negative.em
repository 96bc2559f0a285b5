model LogOfNegative
param a : positive
for n in N:
    observed x[n] ~ Exponential(a)
factor a * log(-a)
