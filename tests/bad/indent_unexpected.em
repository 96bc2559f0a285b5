model M
param a : real
    param b : real
