model M
param a : reel
param b : int
