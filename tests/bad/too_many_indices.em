model M
param a : real[D]
let b = a[0, 1]
