model M
x = 3
