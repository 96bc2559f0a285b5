"""Every family by maximum likelihood without latents, mixtures of families, families declared on the spot."""

from __future__ import annotations

import numpy as np
from scipy import stats
from scipy.special import gammaln

from cases import Case, mix, pick

W = np.array([0.4, 0.6])

# ------------------------------------------------------------------------------------------ one family, no latent


def _single(name, params, family, draw, truth, log_density, extra="", **kwargs):
    """A sample of 60 from one family; `draw(rng, n)` makes it; `log_density(x, p)`."""
    lines = "\n    ".join(f"param {line}" for line in params)
    text = f"\n    model M\n    {lines}\n    for n in N:\n        {extra}observed x[n] ~ {family}\n"
    return Case(
        name,
        text,
        lambda rng: ({"x": draw(rng, 60)}, truth),
        lambda p, d: float(np.sum(log_density(d["x"], p))),
        **kwargs,
    )


def _logistic(v):
    return 1 / (1 + np.exp(-v))


V3 = np.array([0.2, 0.3, 0.5])
SPD = np.array([[2.0, 0.6], [0.6, 1.0]])
TALL = {"max_iter": 20_000}

SINGLES = [
    _single("bernoulli p", ["p : unit"], "Bernoulli(p)", lambda r, n: r.binomial(1, 0.3, n), {"p": 0.3},
            lambda x, p: stats.bernoulli.logpmf(x, p["p"]), updates={"p": "closed form"}),
    _single("bernoulli logit", ["b : real"], "Bernoulli(logit = b)", lambda r, n: r.binomial(1, 0.3, n), {"b": -0.8},
            lambda x, p: stats.bernoulli.logpmf(x, _logistic(p["b"])), updates={"b": "closed form"}),
    _single("binomial", ["p : unit"], "Binomial(7, p)", lambda r, n: r.binomial(7, 0.3, n), {"p": 0.3},
            lambda x, p: stats.binom.logpmf(x, 7, p["p"]), updates={"p": "closed form"}),
    _single("categorical", ["p : simplex[K]"], "Categorical(p)", lambda r, n: pick(r, V3, n), {"p": V3},
            lambda x, p: np.log(p["p"])[x], updates={"p": "closed form"}),
    _single("multinomial", ["p : simplex[K]"], "Multinomial(p)", lambda r, n: r.multinomial(6, V3, n), {"p": V3},
            lambda x, p: stats.multinomial.logpmf(x, 6, p["p"] / p["p"].sum()), updates={"p": "closed form"}),
    _single("poisson", ["r : positive"], "Poisson(r)", lambda r, n: r.poisson(3, n), {"r": 3.0},
            lambda x, p: stats.poisson.logpmf(x, p["r"]), updates={"r": "closed form"}),
    _single("poisson log", ["b : real"], "Poisson(log_rate = b)", lambda r, n: r.poisson(3, n), {"b": 1.1},
            lambda x, p: stats.poisson.logpmf(x, np.exp(p["b"]))),
    _single("geometric", ["p : unit"], "Geometric(p)", lambda r, n: r.geometric(0.3, n) - 1, {"p": 0.3},
            lambda x, p: stats.geom.logpmf(x + 1, p["p"]), updates={"p": "closed form"}),
    _single("negative binomial p", ["s : positive", "p : unit"], "NegativeBinomial(s, p)",
            lambda r, n: r.negative_binomial(2, 0.3, n), {"s": 2.0, "p": 0.3},
            lambda x, p: stats.nbinom.logpmf(x, p["s"], p["p"]), options={"max_iter": 5}),  # one given the other: 100s
    _single("negative binomial mean", ["s : positive", "m : positive"], "NegativeBinomial(s, mean = m)",
            lambda r, n: r.negative_binomial(2, 0.3, n), {"s": 2.0, "m": 4.7},
            lambda x, p: stats.nbinom.logpmf(x, p["s"], p["s"] / (p["s"] + p["m"]))),
    _single("normal sd", ["m : real", "s : positive"], "Normal(m, s)", lambda r, n: r.normal(2, 3, n),
            {"m": 2.0, "s": 3.0}, lambda x, p: stats.norm.logpdf(x, p["m"], p["s"]),
            updates={"m": "closed form", "s": "closed form"}),
    _single("normal var", ["m : real", "v : positive"], "Normal(m, var = v)", lambda r, n: r.normal(2, 3, n),
            {"m": 2.0, "v": 9.0}, lambda x, p: stats.norm.logpdf(x, p["m"], np.sqrt(p["v"]))),
    _single("normal precision", ["m : real", "t : positive"], "Normal(m, precision = t)",
            lambda r, n: r.normal(2, 3, n), {"m": 2.0, "t": 0.1},
            lambda x, p: stats.norm.logpdf(x, p["m"], p["t"] ** -0.5)),
    _single("mvnormal cov", ["m : real[D]", "C : spd[D]"], "MvNormal(m, C)",
            lambda r, n: r.multivariate_normal([1, 2], SPD, n), {"m": np.array([1.0, 2.0]), "C": SPD},
            lambda x, p: stats.multivariate_normal.logpdf(x, p["m"], p["C"])),
    _single("mvnormal precision", ["m : real[D]", "P : spd[D]"], "MvNormal(m, precision = P)",
            lambda r, n: r.multivariate_normal([1, 2], SPD, n), {"m": np.array([1.0, 2.0]), "P": np.linalg.inv(SPD)},
            lambda x, p: stats.multivariate_normal.logpdf(x, p["m"], np.linalg.inv(p["P"]))),
    _single("lognormal", ["m : real", "s : positive"], "LogNormal(m, s)", lambda r, n: r.lognormal(1, 0.5, n),
            {"m": 1.0, "s": 0.5}, lambda x, p: stats.lognorm.logpdf(x, p["s"], scale=np.exp(p["m"])),
            updates={"m": "closed form", "s": "closed form"}),
    _single("laplace, mean known", ["s : positive"], "Laplace(1, s)", lambda r, n: r.laplace(1, 2, n), {"s": 2.0},
            lambda x, p: stats.laplace.logpdf(x, 1, p["s"]), updates={"s": "closed form"}),
    _single("student t", ["m : real", "s : positive"], "StudentT(4, m, s)", lambda r, n: 1 + 2 * r.standard_t(4, n),
            {"m": 1.0, "s": 2.0}, lambda x, p: stats.t.logpdf(x, 4, p["m"], p["s"])),
    _single("student t, df free", ["df : positive", "m : real", "s : positive"], "StudentT(df, m, s)",
            lambda r, n: 1 + 2 * r.standard_t(2, n), {"df": 2.0, "m": 1.0, "s": 2.0},
            lambda x, p: stats.t.logpdf(x, p["df"], p["m"], p["s"]), options=TALL),
    _single("multivariate t", ["m : real[D]", "C : spd[D]"], "MvStudentT(5, m, C)",
            lambda r, n: stats.multivariate_t.rvs([1, 2], SPD, 5, n, random_state=r),
            {"m": np.array([1.0, 2.0]), "C": SPD}, lambda x, p: stats.multivariate_t.logpdf(x, p["m"], p["C"], 5)),
    _single("exponential", ["r : positive"], "Exponential(r)", lambda r, n: r.exponential(0.5, n), {"r": 2.0},
            lambda x, p: stats.expon.logpdf(x, scale=1 / p["r"]), updates={"r": "closed form"}),
    _single("gamma rate", ["a : positive", "b : positive"], "Gamma(a, b)", lambda r, n: r.gamma(3, 0.5, n),
            {"a": 3.0, "b": 2.0}, lambda x, p: stats.gamma.logpdf(x, p["a"], scale=1 / p["b"])),
    _single("gamma scale", ["a : positive", "s : positive"], "Gamma(a, scale = s)", lambda r, n: r.gamma(3, 0.5, n),
            {"a": 3.0, "s": 0.5}, lambda x, p: stats.gamma.logpdf(x, p["a"], scale=p["s"])),
    _single("inverse gamma", ["a : positive", "b : positive"], "InverseGamma(a, b)",
            lambda r, n: 2 / r.gamma(3, 1, n), {"a": 3.0, "b": 2.0},
            lambda x, p: stats.invgamma.logpdf(x, p["a"], scale=p["b"])),
    _single("weibull", ["k : positive", "s : positive"], "Weibull(k, s)", lambda r, n: 2 * r.weibull(1.5, n),
            {"k": 1.5, "s": 2.0}, lambda x, p: stats.weibull_min.logpdf(x, p["k"], scale=p["s"])),
    _single("inverse gaussian", ["m : positive", "l : positive"], "InverseGaussian(m, l)",
            lambda r, n: r.wald(2, 5, n), {"m": 2.0, "l": 5.0},
            lambda x, p: stats.invgauss.logpdf(x, p["m"] / p["l"], scale=p["l"])),
    _single("beta", ["a : positive", "b : positive"], "Beta(a, b)", lambda r, n: r.beta(2, 5, n), {"a": 2.0, "b": 5.0},
            lambda x, p: stats.beta.logpdf(x, p["a"], p["b"])),
    _single("dirichlet", ["a : positive[K]"], "Dirichlet(a)", lambda r, n: r.dirichlet([1, 2, 3], n),
            {"a": np.array([1.0, 2.0, 3.0])}, lambda x, p: stats.dirichlet.logpdf(x.T, p["a"])),
    _single("wishart", ["S : spd[D]"], "Wishart(5, S)",
            lambda r, n: stats.wishart.rvs(5, SPD, n, random_state=r), {"S": SPD},
            lambda x, p: [stats.wishart.logpdf(m, 5, p["S"]) for m in x]),
    _single("inverse wishart", ["S : spd[D]"], "InverseWishart(6, S)",
            lambda r, n: stats.invwishart.rvs(6, SPD, n, random_state=r), {"S": SPD},
            lambda x, p: [stats.invwishart.logpdf(m, 6, p["S"]) for m in x]),
    _single("von mises", ["m : real", "k : positive"], "VonMises(m, k)", lambda r, n: r.vonmises(1, 2, n),
            {"m": 1.0, "k": 2.0}, lambda x, p: stats.vonmises.logpdf(x, p["k"], p["m"])),
]  # fmt: skip

# ------------------------------------------------------------------------------------------ mixtures of two


def _mixture(name, params, family, draw, truth, log_density, n=100, **kwargs):
    """Two components; `draw(rng, z)` given the classes; `log_density(x[:, None], p)` is (N, 2)."""
    lines = "\n    ".join(f"param {line}" for line in params)
    text = (
        f"\n    model M\n    size K = 2\n    param w : simplex[K]\n    {lines}\n    for n in N:\n"
        f"        latent   z[n] ~ Categorical(w)\n        observed x[n] ~ {family}\n"
    )

    def make(rng):
        return {"x": draw(rng, pick(rng, W, n))}, {"w": W, **truth}

    return Case(
        name, text, make, lambda p, d: mix(p["w"], log_density(d["x"][:, None], p)), options={"n_init": 3}, **kwargs
    )


def _pair(a, b):
    return np.array([a, b], float)


MIXTURES = [
    _mixture("mixture of gammas", ["a[K] : positive", "b[K] : positive"], "Gamma(a[z[n]], b[z[n]])",
             lambda r, z: r.gamma(_pair(9, 4)[z], 1 / _pair(9, 0.5)[z]), {"a": _pair(9, 4), "b": _pair(9, 0.5)},
             lambda x, p: stats.gamma.logpdf(x, p["a"], scale=1 / p["b"])),
    _mixture("mixture of betas", ["a[K] : positive", "b[K] : positive"], "Beta(a[z[n]], b[z[n]])",
             lambda r, z: r.beta(_pair(3, 9)[z], _pair(12, 3)[z]), {"a": _pair(3, 9), "b": _pair(12, 3)},
             lambda x, p: stats.beta.logpdf(x, p["a"], p["b"])),
    _mixture("mixture of weibulls", ["k[K] : positive", "s[K] : positive"], "Weibull(k[z[n]], s[z[n]])",
             lambda r, z: _pair(1, 8)[z] * r.weibull(_pair(2, 5)[z]), {"k": _pair(2, 5), "s": _pair(1, 8)},
             lambda x, p: stats.weibull_min.logpdf(x, p["k"], scale=p["s"])),
    _mixture("mixture of von mises", ["m[K] : real", "k[K] : positive"], "VonMises(m[z[n]], k[z[n]])",
             lambda r, z: r.vonmises(_pair(-1, 2)[z], _pair(4, 6)[z]), {"m": _pair(-1, 2), "k": _pair(4, 6)},
             lambda x, p: stats.vonmises.logpdf(x, p["k"], p["m"])),
    _mixture("mixture of inverse gaussians", ["m[K] : positive", "l[K] : positive"],
             "InverseGaussian(m[z[n]], l[z[n]])",
             lambda r, z: r.wald(_pair(1, 8)[z], _pair(9, 90)[z]), {"m": _pair(1, 8), "l": _pair(9, 90)},
             lambda x, p: stats.invgauss.logpdf(x, p["m"] / p["l"], scale=p["l"])),
    _mixture("mixture of lognormals", ["m[K] : real", "v[K] : positive"], "LogNormal(m[z[n]], var = v[z[n]])",
             lambda r, z: r.lognormal(_pair(0, 3)[z], 0.5), {"m": _pair(0, 3), "v": _pair(0.25, 0.25)},
             lambda x, p: stats.lognorm.logpdf(x, np.sqrt(p["v"]), scale=np.exp(p["m"]))),
    _mixture("mixture of exponentials", ["r[K] : positive"], "Exponential(r[z[n]])",
             lambda r, z: r.exponential(_pair(0.5, 9)[z]), {"r": _pair(2, 1 / 9)},
             lambda x, p: stats.expon.logpdf(x, scale=1 / p["r"])),
    _mixture("mixture of negative binomials", ["s[K] : positive", "m[K] : positive"],
             "NegativeBinomial(s[z[n]], mean = m[z[n]])",
             lambda r, z: r.poisson(r.gamma(_pair(5, 9)[z], _pair(2, 30)[z] / _pair(5, 9)[z])),
             {"s": _pair(5, 9), "m": _pair(2, 30)},
             lambda x, p: stats.nbinom.logpmf(x, p["s"], p["s"] / (p["s"] + p["m"]))),
    _mixture("mixture of binomials", ["p[K] : unit"], "Binomial(12, p[z[n]])",
             lambda r, z: r.binomial(12, _pair(0.2, 0.7)[z]), {"p": _pair(0.2, 0.7)},
             lambda x, p: stats.binom.logpmf(x, 12, p["p"])),
    _mixture("mixture of geometrics", ["p[K] : unit"], "Geometric(p[z[n]])",
             lambda r, z: r.geometric(_pair(0.05, 0.6)[z]) - 1, {"p": _pair(0.05, 0.6)},
             lambda x, p: stats.geom.logpmf(x + 1, p["p"]), n=200),
    _mixture("mixture of t families", ["m[K] : real", "s[K] : positive"], "StudentT(5, m[z[n]], s[z[n]])",
             lambda r, z: _pair(-5, 4)[z] + r.standard_t(5, len(z)), {"m": _pair(-5, 4), "s": _pair(1, 1)},
             lambda x, p: stats.t.logpdf(x, 5, p["m"], p["s"])),
    _mixture("mixture of laplaces, means known", ["s[K] : positive"], "Laplace([-3, 3][z[n]], s[z[n]])",
             lambda r, z: r.laplace(_pair(-3, 3)[z], _pair(1, 0.5)[z]), {"s": _pair(1, 0.5)},
             lambda x, p: stats.laplace.logpdf(x, _pair(-3, 3), p["s"])),
]  # fmt: skip

# ------------------------------------------------------------------------------------------ declared on the spot


def _own(name, declared, params, family, draw, truth, log_density, **kwargs):
    case = _single(name, params, family, draw, truth, log_density, **kwargs)
    text = case.text.replace("model M\n", f"model M\n    family {declared}\n")
    return Case(case.name, text, case.make, case.value, updates=case.updates, options=case.options)


def _own_mixture(name, declared, *args, **kwargs):
    case = _mixture(name, *args, **kwargs)
    text = case.text.replace("model M\n", f"model M\n    family {declared}\n")
    return Case(case.name, text, case.make, case.value, updates=case.updates, options=case.options)


PARETO = "Pareto(x : real(min = 1) | a : positive) = log(a) - (a + 1)*log(x)"
MAXWELL = "Maxwell(x : positive | s : positive) = log(2/pi)/2 + 2*log(x) - 3*log(s) - x^2/(2*s^2)"
HALF = "HalfNormal(x : positive | t : positive) = log(2/pi)/2 + log(t)/2 - t*x^2/2"
TRIES = "Tries(x : count(min = 1) | p : unit) = log(p) + (x - 1)*log(1 - p)"
SERIES = "Logarithmic(x : count(min = 1) | p : unit) = x*log(p) - log(x) - log(-log(1 - p))"
TRUNCATED = "Positive(x : count(min = 1) | r : positive) = x*log(r) - r - lgamma(x + 1) - log(1 - exp(-r))"
KUMARASWAMY = "Kumaraswamy(x : unit | a : positive, b : positive) = log(a) + log(b) + (a-1)*log(x) + (b-1)*log(1 - x^a)"
LINDLEY = "Lindley(x : positive | q : positive) = 2*log(q) - log(1 + q) + log(1 + x) - q*x"
BOREL = "Borel(x : count(min = 1) | m : unit) = -m*x + (x - 1)*log(m*x) - lgamma(x + 1)"
LOGISTIC = "Logistic(x : real | m : real, s : positive) = -(x-m)/s - log(s) - 2*log(1 + exp(-(x-m)/s))"


def _log_series(x, p):
    return x * np.log(p["p"]) - np.log(x) - np.log(-np.log1p(-p["p"]))


OWN = [
    _own("own: pareto", PARETO, ["a : positive"], "Pareto(a)", lambda r, n: 1 + r.pareto(3, n), {"a": 3.0},
         lambda x, p: stats.pareto.logpdf(x, p["a"]), updates={"a": "closed form"}),
    _own("own: maxwell", MAXWELL, ["s : positive"], "Maxwell(s)",
         lambda r, n: stats.maxwell.rvs(scale=2, size=n, random_state=r), {"s": 2.0},
         lambda x, p: stats.maxwell.logpdf(x, scale=p["s"]), updates={"s": "closed form"}),
    _own("own: half-normal", HALF, ["t : positive"], "HalfNormal(t)",
         lambda r, n: np.abs(r.normal(0, 2, n)), {"t": 0.25},
         lambda x, p: stats.halfnorm.logpdf(x, scale=p["t"] ** -0.5), updates={"t": "closed form"}),
    _own("own: number of tries", TRIES, ["p : unit"], "Tries(p)", lambda r, n: r.geometric(0.3, n), {"p": 0.3},
         lambda x, p: stats.geom.logpmf(x, p["p"]), updates={"p": "closed form"}),
    _own("own: logarithmic series", SERIES, ["p : unit"], "Logarithmic(p)",
         lambda r, n: r.logseries(0.7, n), {"p": 0.7},
         _log_series),
    _own("own: positive poisson", TRUNCATED, ["r : positive"], "Positive(r)",
         lambda r, n: stats.poisson.ppf(r.uniform(np.exp(-2), 1, n), 2).astype(int), {"r": 2.0},
         lambda x, p: stats.poisson.logpmf(x, p["r"]) - np.log(-np.expm1(-p["r"]))),
    _own("own: kumaraswamy", KUMARASWAMY, ["a : positive", "b : positive"], "Kumaraswamy(a, b)",
         lambda r, n: (1 - r.random(n) ** (1 / 3)) ** (1 / 2), {"a": 2.0, "b": 3.0},
         lambda x, p: np.log(p["a"] * p["b"]) + (p["a"] - 1) * np.log(x) + (p["b"] - 1) * np.log1p(-(x ** p["a"]))),
    _own("own: lindley", LINDLEY, ["q : positive"], "Lindley(q)",
         lambda r, n: np.where(r.random(n) < 2 / 3, r.exponential(0.5, n), r.gamma(2, 0.5, n)), {"q": 2.0},
         lambda x, p: 2 * np.log(p["q"]) - np.log1p(p["q"]) + np.log1p(x) - p["q"] * x, updates={"q": "closed form"}),
    _own("own: borel", BOREL, ["m : unit"], "Borel(m)", lambda r, n: r.geometric(0.5, n), {"m": 0.5},
         lambda x, p: -p["m"] * x + (x - 1) * np.log(p["m"] * x) - gammaln(x + 1), updates={"m": "closed form"}),
    _own("own: logistic", LOGISTIC, ["m : real", "s : positive"], "Logistic(m, s)", lambda r, n: r.logistic(2, 1, n),
         {"m": 2.0, "s": 1.0}, lambda x, p: stats.logistic.logpdf(x, p["m"], p["s"])),
    _own_mixture("own: mixture of paretos", PARETO, ["a[K] : positive"], "Pareto(a[z[n]])",
                 lambda r, z: 1 + r.pareto(_pair(12, 0.8)[z]), {"a": _pair(12, 0.8)},
                 lambda x, p: stats.pareto.logpdf(x, p["a"])),
    _own_mixture("own: mixture of maxwells", MAXWELL, ["s[K] : positive"], "Maxwell(s[z[n]])",
                 lambda r, z: stats.maxwell.rvs(scale=_pair(1, 6)[z], random_state=r), {"s": _pair(1, 6)},
                 lambda x, p: stats.maxwell.logpdf(x, scale=p["s"])),
    _own_mixture("own: mixture of positive poissons", TRUNCATED, ["r[K] : positive"], "Positive(r[z[n]])",
                 lambda r, z: np.maximum(1, r.poisson(_pair(1.5, 12)[z])), {"r": _pair(1.5, 12)},
                 lambda x, p: stats.poisson.logpmf(x, p["r"]) - np.log(-np.expm1(-p["r"]))),
]  # fmt: skip

CASES = [*SINGLES, *MIXTURES, *OWN]
