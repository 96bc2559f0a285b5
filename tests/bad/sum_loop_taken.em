model M
param a : real[K]
let k = 1
let b = sum(a[k] for k in K)
