model M
param a : real[K]
let b = max(a[k] for k in K)
