# What a family has below a value, P(X <= x), for domains that cut it: the heads are those of prelude.em.
# `above.em` has P(X > x). A family that is not here cannot be cut where its arguments are parameters.

family Normal(x : real | mean : real, sd : positive) = Phi((x - mean)/sd)

family Normal(x : real | mean : real, var : positive) = Phi((x - mean)/sqrt(var))

family Normal(x : real | mean : real, precision : positive) = Phi((x - mean)*sqrt(precision))

family Laplace(x : real | mean : real, scale : positive) =
    ((1 + sign(x - mean))*(1 - exp(-abs(x - mean)/scale)/2) + (1 - sign(x - mean))*exp(-abs(x - mean)/scale)/2)/2

family StudentT(x : real | df : positive, mean : real, scale : positive) = student_cdf(df, (x - mean)/scale)

family LogNormal(x : positive | mean : real, sd : positive) = Phi((log(x) - mean)/sd)

family LogNormal(x : positive | mean : real, var : positive) = Phi((log(x) - mean)/sqrt(var))

family Exponential(x : positive | rate : positive) = 1 - exp(-rate*x)

family Gamma(x : positive | shape : positive, rate : positive) = gamma_cdf(shape, rate*x)

family Gamma(x : positive | shape : positive, scale : positive) = gamma_cdf(shape, x/scale)

family InverseGamma(x : positive | shape : positive, rate : positive) = gamma_sf(shape, rate/x)

family InverseGamma(x : positive | shape : positive, scale : positive) = gamma_sf(shape, scale/x)

family Weibull(x : positive | shape : positive, scale : positive) = 1 - exp(-(x/scale)^shape)

family InverseGaussian(x : positive | mean : positive, shape : positive) =
    (Phi(sqrt(shape/x)*(x/mean - 1)) + exp(2*shape/mean + log(Phi(-sqrt(shape/x)*(x/mean + 1)))))

family Beta(x : unit | a : positive, b : positive) = beta_cdf(a, b, x)

family Poisson(x : count | rate : positive) = gamma_sf(x + 1, rate)

family Poisson(x : count | log_rate : real) = gamma_sf(x + 1, exp(log_rate))

family Geometric(x : count | p : unit) = 1 - exp((x + 1)*log(1 - p))

family NegativeBinomial(x : count | size : positive, p : unit) = beta_cdf(size, x + 1, p)

family NegativeBinomial(x : count | size : positive, mean : positive) = beta_cdf(size, x + 1, size/(size + mean))

family Uniform(x : real(min = low, max = high) | low : real, high : real(min = low)) = min(1, max(1e-300, (x - low) / (high - low)))
