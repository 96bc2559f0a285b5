model M
model N
