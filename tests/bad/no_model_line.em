param a : real
