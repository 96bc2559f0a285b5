# IBM model 1: which word of a sentence each word of its translation comes from (Brown et al. 1993).
# Plan: align exact by enumeration, dictionary in closed form.
model WordAlignment

param dictionary[E] : simplex[F]

for s in S:
    for i in L[s]:
        given source[s, i] : category[E]
    for j in M[s]:
        latent   align[s, j]  ~ Categorical(ones(L[s]) / L[s])
        observed target[s, j] : category[F] ~ Categorical(dictionary[source[s, align[s, j]]])
