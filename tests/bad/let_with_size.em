model M
let a[K] = 3
