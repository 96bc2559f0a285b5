# Regression with Student errors (stack loss; Lange, Little and Taylor 1989).
# Plan: u exact, conjugate (Gamma); (a, b) a linear solve, s2 in closed form.
model RobustRegression

given df : positive = 4
param a  : real
param b  : real[P]
param s2 : positive

for n in N:
    given    X[n] : real[P]
    latent   u[n] ~ Gamma(df/2, df/2)
    observed y[n] ~ Normal(a + X[n] @ b, var = s2 / u[n])
