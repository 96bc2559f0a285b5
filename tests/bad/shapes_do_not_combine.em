model M
param a : real[D]
param B : real[D, D]
let c = a + B
