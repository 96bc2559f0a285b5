model M
param a : real[3]
let b = a[0:2]
