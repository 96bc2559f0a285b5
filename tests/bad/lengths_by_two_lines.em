model M
param m : real[D]
let A = [[1, 0], [0, 1]]
let v = A @ m
let w = [1, 2, 3]
for n in N:
    observed x[n] ~ MvNormal(m, diag(w))
