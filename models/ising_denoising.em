# A picture of two colours seen through noise: neighbouring spots like to be alike (Geman and Geman 1984; Bishop 2006, section 8.3.3).
# Plan: spot by mean-field, each a factor given its neighbours, in turn; the noise a closed form.
model IsingDenoising

given likeness : real = 1.0

param noise : unit

for i in N:
    for j in M:
        latent   spot[i, j] ~ Bernoulli(1/2)
        observed seen[i, j] ~ Bernoulli(1 - noise if spot[i, j] == 1 else noise)
for i in N:
    for j in M if j > 0:
        factor likeness if spot[i, j] == spot[i, j-1] else 0
for i in N if i > 0:
    for j in M:
        factor likeness if spot[i, j] == spot[i-1, j] else 0

infer spot by meanfield
