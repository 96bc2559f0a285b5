model M
param A : real
param Α : real
let b = A + Α
