model M
param ж : real
