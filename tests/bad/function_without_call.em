model M
let a = exp + 1
