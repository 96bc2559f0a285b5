model M
param a : real;import os
