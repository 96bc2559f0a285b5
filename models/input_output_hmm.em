# A chain whose changes of state depend on an input, by a softmax regression from each state (Bengio and Frasconi 1995).
# Plan: z exact along the chain; change by Newton, a Hessian for each state that is left; rate a closed form.
model InputOutputHMM

size K = 2

param first        : simplex[K]
param change[K, K] : real[P] ~ Normal(0, 3)
param rate[K]      : positive

for t in T:
    given    u[t] : real[P]
    latent   z[t] ~ Categorical(first) if t == 0 else Categorical(logits = change[z[t-1]] @ u[t])
    observed y[t] ~ Poisson(rate[z[t]])
