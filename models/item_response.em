# Item response: how able each person is, how steep and how hard each item (LSAT 6, answer patterns with counts).
# Plan: ability by quadrature, one dimension a person; slopes and easiness together by Newton, item by item.
model ItemResponse

param slope[J] : positive
param easy[J]  : real

for n in N:
    latent ability[n] ~ Normal(0, 1)
    for j in J:
        observed y[n, j] ~ Bernoulli(logit = slope[j] * ability[n] + easy[j])

infer ability by quadrature(points = 61)
