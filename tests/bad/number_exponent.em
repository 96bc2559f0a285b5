model M
let a = 1e
let b = 1e+
let c = 2e3x
