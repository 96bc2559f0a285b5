model M
parm a : real
observerd x ~ Normal(0, 1)
