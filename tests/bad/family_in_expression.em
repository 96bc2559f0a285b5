model M
let a = Normal(0, 1) + 2
