# The families that every model knows, each declared as a user declares one: by its log density,
# constants kept. A second declaration of a name adds a parameterisation. What cannot be said here
# (stable evaluation, samplers, moments) stands in the kernels beside this file.
#
# The forms are opened so that arguments and variate come apart: `x*log(p) + (1 - x)*log(1 - p)`,
# never `log(p^x * ...)`; squares stay centred. Conventions are Stan's.

# ---------------------------------------------------------------- counts and categories

family Bernoulli(x : bool | p : unit) = x*log(p) + (1 - x)*log(1 - p)

family Bernoulli(x : bool | logit : real) = x*logit - log1p(exp(logit))

family Binomial(x : count(max = trials) | trials : count, p : unit) =
    (lchoose(trials, x) + x*log(p) + (trials - x)*log(1 - p))

family Binomial(x : count(max = trials) | trials : count, logit : real) =
    (lchoose(trials, x) + x*logit - trials*log1p(exp(logit)))

family Categorical(x : category[K] | p : simplex[K]) = log(p[x])

family Categorical(x : category[K] | logits : real[K]) = logits[x] - logsumexp(logits)

# Without `trials` the density is that of the split given the data's own total.
family Multinomial(x : count[K] | p : simplex[K]) =
    (lgamma(sum(x) + 1) - sum(lgamma(x[k] + 1) for k in K) + sum(x[k]*log(p[k]) for k in K))

family Multinomial(x : count[K] | p : simplex[K], trials : count) =
    (log(sum(x) == trials) + lgamma(trials + 1) - sum(lgamma(x[k] + 1) for k in K) + sum(x[k]*log(p[k]) for k in K))

family Poisson(x : count | rate : positive) = x*log(rate) - rate - lgamma(x + 1)

family Poisson(x : count | log_rate : real) = x*log_rate - exp(log_rate) - lgamma(x + 1)

# Failures before the first success.
family Geometric(x : count | p : unit) = log(p) + x*log(1 - p)

# Failures before the `size`-th success; `size` need not be whole.
family NegativeBinomial(x : count | size : positive, p : unit) =
    (lgamma(x + size) - lgamma(size) - lgamma(x + 1) + size*log(p) + x*log(1 - p))

family NegativeBinomial(x : count | size : positive, mean : positive) =
    (lgamma(x + size) - lgamma(size) - lgamma(x + 1) + size*log(size) + x*log(mean) - (x + size)*log(size + mean))

# ---------------------------------------------------------------- the real line

family Normal(x : real | mean : real, sd : positive) = -log(sd) - log(2*pi)/2 - (x - mean)^2/(2*sd^2)

family Normal(x : real | mean : real, var : positive) = -log(var)/2 - log(2*pi)/2 - (x - mean)^2/(2*var)

family Normal(x : real | mean : real, precision : positive) =
    (log(precision)/2 - log(2*pi)/2 - precision*(x - mean)^2/2)

family Laplace(x : real | mean : real, scale : positive) = -log(2) - log(scale) - abs(x - mean)/scale

family StudentT(x : real | df : positive, mean : real, scale : positive) =
    (lgamma((df + 1)/2) - lgamma(df/2) - log(df)/2 - log(pi)/2 - log(scale)
     - (df + 1)/2*log1p((x - mean)^2/(df*scale^2)))

# An angle, on the circle written as [-pi, pi].
family VonMises(x : real(min = -pi, max = pi) | mean : real, concentration : positive) =
    (concentration*cos(x - mean) - log(2*pi) - log_bessel_i0(concentration))

family Uniform(x : real(min = low, max = high) | low : real, high : real(min = low)) = -log(high - low)

# The point mass.
family Delta(x : real | value : real) = log(x == value)

# ---------------------------------------------------------------- the positive half line, the unit interval

family LogNormal(x : positive | mean : real, sd : positive) =
    (-log(x) - log(sd) - log(2*pi)/2 - (log(x) - mean)^2/(2*sd^2))

family LogNormal(x : positive | mean : real, var : positive) =
    (-log(x) - log(var)/2 - log(2*pi)/2 - (log(x) - mean)^2/(2*var))

family Exponential(x : positive | rate : positive) = log(rate) - rate*x

family Gamma(x : positive | shape : positive, rate : positive) =
    (shape*log(rate) - lgamma(shape) + (shape - 1)*log(x) - rate*x)

family Gamma(x : positive | shape : positive, scale : positive) =
    (-shape*log(scale) - lgamma(shape) + (shape - 1)*log(x) - x/scale)

# `rate` and `scale` are two names of one number: 1/x is Gamma(shape, rate), and Stan and scipy call the same number
# the scale of x, which it is.
family InverseGamma(x : positive | shape : positive, rate : positive) =
    (shape*log(rate) - lgamma(shape) - (shape + 1)*log(x) - rate/x)

family InverseGamma(x : positive | shape : positive, scale : positive) =
    (shape*log(scale) - lgamma(shape) - (shape + 1)*log(x) - scale/x)

family Weibull(x : positive | shape : positive, scale : positive) =
    (log(shape) - shape*log(scale) + (shape - 1)*log(x) - x^shape/scale^shape)

family InverseGaussian(x : positive | mean : positive, shape : positive) =
    (log(shape)/2 - log(2*pi)/2 - 3*log(x)/2 - shape*x/(2*mean^2) + shape/mean - shape/(2*x))

family Beta(x : unit | a : positive, b : positive) = (a - 1)*log(x) + (b - 1)*log(1 - x) - beta_ln(a, b)

# ---------------------------------------------------------------- vectors and matrices

family Dirichlet(x : simplex[K] | concentration : positive[K]) =
    (lgamma(sum(concentration)) - sum(lgamma(concentration[k]) for k in K)
     + sum((concentration[k] - 1)*log(x[k]) for k in K))

# Symmetric: the same concentration for every entry.
family Dirichlet(x : simplex[K] | concentration : positive) =
    (lgamma(K*concentration) - K*lgamma(concentration) + sum((concentration - 1)*log(x[k]) for k in K))

family MvNormal(x : real[D] | mean : real[D], cov : spd[D]) =
    (-logdet(cov)/2 - D*log(2*pi)/2 - quad(inv(cov), x - mean)/2)

family MvNormal(x : real[D] | mean : real[D], precision : spd[D]) =
    (logdet(precision)/2 - D*log(2*pi)/2 - quad(precision, x - mean)/2)

family MvStudentT(x : real[D] | df : positive, mean : real[D], scale_matrix : spd[D]) =
    (lgamma((df + D)/2) - lgamma(df/2) - D*log(df)/2 - D*log(pi)/2 - logdet(scale_matrix)/2
     - (df + D)/2*log1p(quad(inv(scale_matrix), x - mean)/df))

family Wishart(x : spd[D] | df : real(min = D - 1), scale : spd[D]) =
    ((df - D - 1)/2*logdet(x) - trace(inv(scale) @ x)/2 - df*logdet(scale)/2
     - df*D*log(2)/2 - D*(D - 1)*log(pi)/4 - sum(lgamma((df - d)/2) for d in D))

family InverseWishart(x : spd[D] | df : real(min = D - 1), scale : spd[D]) =
    (df*logdet(scale)/2 - (df + D + 1)/2*logdet(x) - trace(scale @ inv(x))/2
     - df*D*log(2)/2 - D*(D - 1)*log(pi)/4 - sum(lgamma((df - d)/2) for d in D))
