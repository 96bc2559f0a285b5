model M
let a = 2x
