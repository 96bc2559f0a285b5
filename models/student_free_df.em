# The Student t with its degrees of freedom estimated (Newcomb's light; Lange, Little and Taylor 1989).
# Plan: u exact, conjugate (Gamma); mean and s2 in closed form, df by Newton.
model StudentFreeDf

param df   : positive
param mean : real
param s2   : positive

for n in N:
    latent   u[n] ~ Gamma(df/2, df/2)
    observed x[n] ~ Normal(mean, var = s2 / u[n])
