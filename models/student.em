# Location and scale that outliers cannot move: a Student t as a Normal whose precision varies (Newcomb's light; df given).
# Plan: u exact, conjugate (Gamma); every update a closed form.
model Student

given df   : positive = 4
param mean : real
param s2   : positive

for n in N:
    latent   u[n] ~ Gamma(df/2, df/2)
    observed x[n] ~ Normal(mean, var = s2 / u[n])
