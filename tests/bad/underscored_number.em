model M
let a = 1_000
