model M
for n in N:
    observed x[n] : real
    latent y[n] ~ exp(3)
