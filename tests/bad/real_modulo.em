model M
param a : real
let b = a % 2
