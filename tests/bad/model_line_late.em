param a : real
model M
