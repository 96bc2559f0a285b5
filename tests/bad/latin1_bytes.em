model M
param café : real
