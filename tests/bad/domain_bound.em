model M
param a : real(low = 3)
param b : simplex[K](min = 0)
