# Topics of documents (Blei, Ng and Jordan 2003): a document mixes topics, a topic is a distribution over words.
# Plan: theta and z by mean-field; topics a closed form, the prior of the mixtures by Newton.
model LatentDirichletAllocation

size K = 2

param topic[K] : simplex[V]
param alpha    : positive[K]

for d in D:
    latent theta[d] ~ Dirichlet(alpha)
    for i in L[d]:
        latent   z[d, i] ~ Categorical(theta[d])
        observed w[d, i] ~ Categorical(topic[z[d, i]])

infer theta, z by meanfield
