model M
param a : real
let b = exp(a, 2)
let c = lchoose(3)
let d = sqrt(x = 2)
let e = eye()
