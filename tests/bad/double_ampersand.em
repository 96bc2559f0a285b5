model M
param a : real
let b = a > 0 && a < 1
