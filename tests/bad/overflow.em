model M
let a = 1e999
