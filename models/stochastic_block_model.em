# Who is linked to whom depends on their groups alone (Holland, Laskey and Leinhardt 1983): a directed graph.
# Plan: z by mean-field, each element a factor in turn; both updates a closed form.
model StochasticBlockModel

size K = 2

param share      : simplex[K]
param link[K, K] : unit

for i in N:
    latent z[i] ~ Categorical(share)
for i in N:
    for j in N if i != j:
        observed a[i, j] ~ Bernoulli(link[z[i], z[j]])

infer z by meanfield
