model OtherFamilies

param m : real

for n in N:
    observed a[n] ~ NegBinomial(m, 1)
    observed b[n] ~ Cauchy(m, 1)
    observed c[n] ~ Skellam(m, 1)
