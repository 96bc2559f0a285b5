# What a family has above a value, P(X > x): see below.em. Written apart, because 1 - P(X <= x) has no digits far out.

family Normal(x : real | mean : real, sd : positive) = Phi((mean - x)/sd)

family Normal(x : real | mean : real, var : positive) = Phi((mean - x)/sqrt(var))

family Normal(x : real | mean : real, precision : positive) = Phi((mean - x)*sqrt(precision))

family Laplace(x : real | mean : real, scale : positive) =
    ((1 - sign(x - mean))*(1 - exp(-abs(x - mean)/scale)/2) + (1 + sign(x - mean))*exp(-abs(x - mean)/scale)/2)/2

family StudentT(x : real | df : positive, mean : real, scale : positive) = student_cdf(df, (mean - x)/scale)

family LogNormal(x : positive | mean : real, sd : positive) = Phi((mean - log(x))/sd)

family LogNormal(x : positive | mean : real, var : positive) = Phi((mean - log(x))/sqrt(var))

family Exponential(x : positive | rate : positive) = exp(-rate*x)

family Gamma(x : positive | shape : positive, rate : positive) = gamma_sf(shape, rate*x)

family Gamma(x : positive | shape : positive, scale : positive) = gamma_sf(shape, x/scale)

family InverseGamma(x : positive | shape : positive, rate : positive) = gamma_cdf(shape, rate/x)

family InverseGamma(x : positive | shape : positive, scale : positive) = gamma_cdf(shape, scale/x)

family Weibull(x : positive | shape : positive, scale : positive) = exp(-(x/scale)^shape)

family InverseGaussian(x : positive | mean : positive, shape : positive) =
    (Phi(-sqrt(shape/x)*(x/mean - 1)) - exp(2*shape/mean + log(Phi(-sqrt(shape/x)*(x/mean + 1)))))

family Beta(x : unit | a : positive, b : positive) = beta_cdf(b, a, 1 - x)

family Poisson(x : count | rate : positive) = gamma_cdf(x + 1, rate)

family Poisson(x : count | log_rate : real) = gamma_cdf(x + 1, exp(log_rate))

family Geometric(x : count | p : unit) = exp((x + 1)*log(1 - p))

family NegativeBinomial(x : count | size : positive, p : unit) = beta_cdf(x + 1, size, 1 - p)

family NegativeBinomial(x : count | size : positive, mean : positive) = beta_cdf(x + 1, size, mean/(size + mean))

family Uniform(x : real(min = low, max = high) | low : real, high : real(min = low)) = min(1, max(1e-300, (high - x) / (high - low)))
