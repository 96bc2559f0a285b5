# The truth about each patient, and each observer's errors, from labels that disagree (Dawid and Skene 1979).
# Plan: truth exact by enumeration, reached through a given index; every update a closed form.
model DawidSkene

param prevalence      : simplex[K]
param confusion[J, K] : simplex[K]

for i in I:
    latent truth[i] ~ Categorical(prevalence)

for r in R:
    given    patient[r]  : index[I]
    given    observer[r] : category[J]
    observed label[r]    ~ Categorical(confusion[observer[r], truth[patient[r]]])
