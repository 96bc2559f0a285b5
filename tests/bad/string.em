model M
given title : real = "a"
