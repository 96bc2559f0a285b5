model M
param µ : real
