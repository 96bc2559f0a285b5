model M
param a : real[K]
let b = [a[k] for k in K if k > 0]
