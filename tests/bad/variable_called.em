model M
param a : real[K]
let b = a(0)
