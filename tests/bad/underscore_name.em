model M
param __class__ : real
param _x : real
