model M
for n in N:
    observed z ~ Normal(0, 1)
