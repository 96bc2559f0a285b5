model M
let a = 1e-999
