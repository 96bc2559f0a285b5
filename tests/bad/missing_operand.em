model M
let a = 1 +
