model M
param m[3] : real
let a = m[-1]
