# Hidden states that branch: each element's depends on its parent's (Crouse, Nowak and Baraniuk 1998); 0 is the root.
# Plan: z exact on the tree, element after element; every update a closed form.
model HiddenTree

size K = 2

param root     : simplex[K]
param trans[K] : simplex[K]
param mean[K]  : real
param sd[K]    : positive

for i in N:
    given    parent[i] : index[N]
    latent   z[i]      ~ Categorical(root) if i == 0 else Categorical(trans[z[parent[i]]])
    observed x[i]      ~ Normal(mean[z[i]], sd[z[i]])
