# Frequencies of the alleles A, B, O from blood groups: a person has two alleles, and O hides behind the others.
# Plan: genotype exact by enumeration, allele in closed form (gene counting, Ceppellini, Siniscalco and Smith 1955).
model BloodGroups

param allele : simplex[3]          # A, B, O

let genotypes = [allele[0]^2, 2*allele[0]*allele[2],       # AA, AO
                 2*allele[0]*allele[1],                    # AB
                 allele[1]^2, 2*allele[1]*allele[2],       # BB, BO
                 allele[2]^2]                              # OO

let seen = [[1, 0, 0, 0],          # A, AB, B, O
            [1, 0, 0, 0],
            [0, 1, 0, 0],
            [0, 0, 1, 0],
            [0, 0, 1, 0],
            [0, 0, 0, 1]]

for n in N:
    latent   genotype[n]  ~ Categorical(genotypes)
    observed phenotype[n] ~ Categorical(seen[genotype[n]])
