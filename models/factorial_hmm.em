# Two hidden chains that add up to one signal (Ghahramani and Jordan 1997), by the product of their states.
# Plan: a and b exact along one chain; high and low by a linear solve, the rest in closed form.
model FactorialHMM

size A = 2
size B = 2

param first_a    : simplex[A]
param first_b    : simplex[B]
param trans_a[A] : simplex[A]
param trans_b[B] : simplex[B]
param high[A]    : real
param low[B]     : real
param sd         : positive

for t in T:
    latent   a[t] ~ Categorical(first_a) if t == 0 else Categorical(trans_a[a[t-1]])
    latent   b[t] ~ Categorical(first_b) if t == 0 else Categorical(trans_b[b[t-1]])
    observed x[t] ~ Normal(high[a[t]] + low[b[t]], sd)
