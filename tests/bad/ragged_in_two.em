model Levels
param m : real
for h in H:
    for j in J[h]:
        for i in I[j, h]:
            observed y[h, j, i] ~ Normal(m, 1)
