# Recombination from four phenotypes, two cells of five seen as one (Rao 1973; Dempster, Laird and Rubin 1977).
# Plan: cell exact by enumeration, t in closed form.
model GeneticLinkage

param t : unit

let seen = [[1, 0, 0, 0],
            [1, 0, 0, 0],
            [0, 1, 0, 0],
            [0, 0, 1, 0],
            [0, 0, 0, 1]]

for n in N:
    latent   cell[n]      ~ Categorical([1/2, t/4, (1-t)/4, (1-t)/4, t/4])
    observed phenotype[n] ~ Categorical(seen[cell[n]])
