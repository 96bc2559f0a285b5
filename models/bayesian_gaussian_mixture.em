# Variational Bayes: a Gaussian mixture whose weights, means and precisions are latent; components that are not needed stay empty.
# Plan: three factors of q by mean-field, (mean, prec) a Normal-Wishart; nothing to estimate.
model BayesianGaussianMixture

size K = 6

given a0 : positive = 1

latent weights ~ Dirichlet(a0 * ones(K))
for k in K:
    latent prec[k] ~ Wishart(D + 2, eye(D))
    latent mean[k] ~ MvNormal(zeros(D), precision = 0.1 * prec[k])
for n in N:
    latent   z[n] ~ Categorical(weights)
    observed x[n] ~ MvNormal(mean[z[n]], precision = prec[z[n]])

infer weights, (mean, prec), z by meanfield
