model M
for n in N:
param a : real
