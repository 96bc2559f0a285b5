model M
for n in N:
    observed x[n] : real ~ MvNormal([0, 0], eye(2))
