# Poisson factorisation of a table of counts (Cemgil 2009; Gopalan, Hofman and Blei 2015): how much a user does of a topic times
# what an item has of it. Events, not counts: each is of one topic, and those of one user and item are counted.
# Plan: theta, beta and the topics of events by mean-field; nothing to estimate. The bound lacks the factorials of the counts.
model PoissonFactorisation

size K = 3

given a : positive = 0.3
given b : positive = 0.3

for u in U:
    for k in K:
        latent theta[u, k] ~ Gamma(a, a)
for i in I:
    for k in K:
        latent beta[i, k] ~ Gamma(b, b)
for u in U:
    for i in I:
        factor -sum(theta[u, k] * beta[i, k] for k in K)
    for e in L[u]:
        given  item[u, e] : index[I]
        latent topic[u, e] ~ Categorical(ones(K) / K)
        factor log(K) + log(theta[u, topic[u, e]]) + log(beta[item[u, e], topic[u, e]])

infer theta, beta, topic by meanfield
