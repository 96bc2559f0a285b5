model ManyBinaries
param w : unit
param s : positive
for n in N:
    latent z0[n] ~ Bernoulli(w)
    latent z1[n] ~ Bernoulli(w)
    latent z2[n] ~ Bernoulli(w)
    latent z3[n] ~ Bernoulli(w)
    latent z4[n] ~ Bernoulli(w)
    latent z5[n] ~ Bernoulli(w)
    latent z6[n] ~ Bernoulli(w)
    latent z7[n] ~ Bernoulli(w)
    latent z8[n] ~ Bernoulli(w)
    latent z9[n] ~ Bernoulli(w)
    latent z10[n] ~ Bernoulli(w)
    latent z11[n] ~ Bernoulli(w)
    latent z12[n] ~ Bernoulli(w)
    latent z13[n] ~ Bernoulli(w)
    latent z14[n] ~ Bernoulli(w)
    latent z15[n] ~ Bernoulli(w)
    latent z16[n] ~ Bernoulli(w)
    latent z17[n] ~ Bernoulli(w)
    observed x[n] ~ Normal(z0[n] + z1[n] + z2[n] + z3[n] + z4[n] + z5[n] + z6[n] + z7[n] + z8[n] + z9[n] + z10[n] + z11[n] + z12[n] + z13[n] + z14[n] + z15[n] + z16[n] + z17[n], s)
infer z0 by exact
