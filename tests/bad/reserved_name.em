model M
param if : real
