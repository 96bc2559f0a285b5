model M
param q : positive
for t in T:
    latent   h[t] ~ MvNormal(zeros(2), [[1, 2], [2, 1]]) if t == 0 else MvNormal(h[t-1], diag([-1, q]))
    latent   u[t] ~ MvStudentT(3, h[t], diag([0, q]))
    observed x[t] ~ MvNormal(h[t], q * [[1, 2], [2, 4]])
