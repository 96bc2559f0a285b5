model M
x ~ Normal(0, 1)
