model M
param x : real
let y = x.__dict__
