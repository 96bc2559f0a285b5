model M
param v : real[2]
for t in T:
    observed x[t] ~ MvNormal(0 if t == 0 else v, eye(2))
