model M
param a : positive
let b = srqt(a)
