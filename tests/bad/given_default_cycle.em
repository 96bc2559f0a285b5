model M
given a : real = b
given b : real = a
