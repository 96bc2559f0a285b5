model M
param a : real  # ‮ reversed
