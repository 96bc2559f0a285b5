"""Models with drawn latents, data for each, and their log-likelihoods by quadrature, filters or closed forms.

The likelihoods are plain numpy and scipy: they share nothing with what they are compared with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy import special, stats

Data = dict[str, Any]
Values = Mapping[str, Any]


class Case(NamedTuple):
    """A model without its first line and its `infer` line, which latents are drawn, data, the log-likelihood."""

    text: str
    drawn: str
    make: Callable[[np.random.Generator], Data]
    log_likelihood: Callable[[Data, Values], float]


NODES, LOG_WEIGHTS = np.polynomial.hermite_e.hermegauss(60)
LOG_WEIGHTS = np.log(LOG_WEIGHTS) - 0.5 * np.log(2 * np.pi)


def by_group(group: Any, rows: Any) -> Any:
    """Sums over the rows of each group: (rows, ...) to (groups, ...)."""
    out = np.zeros((group.max() + 1, *rows.shape[1:]))
    np.add.at(out, group, rows)
    return out


def integrated(group: Any, rows: Callable[[Any], Any], mean: float, spread: float) -> float:
    """The log-likelihood of rows given b ~ Normal(mean, spread) of their group, `rows(b)` of all nodes, (rows, nodes).

    The rule is moved to where each group's mass is: nodes of a prior would miss it where rows are many.
    """
    b = mean + spread * NODES
    log = by_group(group, rows(b[None, :])) + LOG_WEIGHTS
    share = np.exp(log - special.logsumexp(log, axis=1, keepdims=True))
    centre = share @ b
    wide = 1.3 * np.sqrt(np.maximum(share @ b**2 - centre**2, (spread / 60) ** 2))
    at = centre[:, None] + wide[:, None] * NODES
    log = by_group(group, rows(at[group])) + stats.norm.logpdf(at, mean, spread) + 0.5 * NODES**2 + LOG_WEIGHTS
    return float((special.logsumexp(log, axis=1) + np.log(wide) + 0.5 * np.log(2 * np.pi)).sum())


def poisson(y: Any, log_rate: Any) -> Any:
    return y * log_rate - np.exp(log_rate)


def logistic(y: Any, logit: Any) -> Any:
    return -np.logaddexp(0, np.where(y == 1, -logit, logit))


INTERCEPTS = """
param mu : real
param tau : positive
for g in G:
    latent b[g] ~ Normal(mu, tau)
for n in N:
    given group[n] : index[G]
    observed y[n] ~ {family}
"""


def _grouped(groups: int, rows: int, draw: Callable[..., Any]) -> Callable[[np.random.Generator], Data]:
    def make(rng: np.random.Generator) -> Data:
        group = np.repeat(np.arange(groups), rows)
        return {"group": group, "y": draw(rng, rng.normal(0.3, 0.8, groups)[group])}

    return make


def _sparse(rng: np.random.Generator) -> Data:
    group = np.repeat(np.arange(80), rng.integers(1, 3, 80))
    return {"group": group, "y": rng.poisson(np.exp(rng.normal(0.3, 0.8, 80))[group])}


def _intercepts(family: Callable[[Any, Any], Any]) -> Callable[[Data, Values], float]:
    return lambda d, p: integrated(d["group"], lambda b: family(d["y"][:, None], b), p["mu"], p["tau"])


def _switching(rng: np.random.Generator) -> Data:
    z = np.zeros(150, int)
    for t in range(1, len(z)):
        z[t] = z[t - 1] if rng.random() < 0.85 else 1 - z[t - 1]
    return {"y": rng.poisson(np.array([1.0, 5.0])[z])}


def _walk(rng: np.random.Generator) -> Data:
    return {"y": np.cumsum(rng.normal(0, 0.6, 120)) + rng.normal(0, 0.8, 120)}


def _slopes(rng: np.random.Generator) -> Data:
    group, x = np.repeat(np.arange(50), 6), np.tile(np.linspace(-1, 1, 6), 50)
    a, b = rng.normal(1, 0.5, 50), rng.normal(0.5, 0.4, 50)
    return {"group": group, "x": x, "y": rng.poisson(np.exp(a[group] + b[group] * x))}


def _mixed(rng: np.random.Generator) -> Data:
    group, high = np.repeat(np.arange(60), 6), rng.random(60) < 0.4
    b = rng.normal(0, 0.4, 60)
    return {"group": group, "y": rng.poisson(np.exp(0.2 + 1.6 * high + b)[group])}


def _rows_of_two_kinds(rng: np.random.Generator) -> Data:
    group, b = np.repeat(np.arange(40), 6), rng.normal(0, 0.6, 40)
    return {"group": group, "y": rng.poisson(np.exp(np.where(rng.random(240) < 0.3, 2.5, 0.0) + b[group]))}


def _growth(rng: np.random.Generator) -> Data:
    group, age = np.repeat(np.arange(30), 7), np.tile(np.linspace(0.3, 4, 7), 30)
    top = rng.normal(2.0, 0.15, 30)
    return {
        "group": group,
        "age": age,
        "y": np.exp(top)[group] / (1 + np.exp((1.7 - age) / 0.6)) + rng.normal(0, 0.4, 210),
    }


def _regression(rng: np.random.Generator) -> Data:
    group, x = np.repeat(np.arange(40), 8), rng.normal(size=320)
    logit = 0.4 - 0.9 * x + rng.normal(0, 1.0, 40)[group]
    return {"group": group, "x": x, "y": (rng.random(320) < 1 / (1 + np.exp(-logit))).astype(int)}


def _volatile(rng: np.random.Generator) -> Data:
    h = np.zeros(400)
    h[0] = rng.normal(0, 0.7)
    for t in range(1, len(h)):
        h[t] = 0.85 * h[t - 1] + rng.normal(0, 0.7 * np.sqrt(1 - 0.85**2))
    return {"y": rng.normal(0, np.exp(-0.2 + h))}


def _logit_regression(d: Data, p: Values) -> float:
    def rows(b: Any) -> Any:
        return logistic(d["y"][:, None], (p["a"] + p["w"] * d["x"])[:, None] + b)

    return integrated(d["group"], rows, 0.0, p["tau"])


def _mixture(d: Data, p: Values) -> float:
    each = stats.norm.logpdf(d["y"][:, None], p["m"], p["s"]) + np.log(p["p"])
    return float(special.logsumexp(each, axis=1).sum())


def _filtered(start: Any, step: Any, emission: Any) -> float:
    """The forward recursion: log start (states,), log steps (states, states), log emissions (times, states)."""
    ahead, total, move = np.exp(start), 0.0, np.exp(step)
    for k, log in enumerate(emission):
        top = log.max()
        here = (ahead @ move if k else ahead) * np.exp(log - top)
        total += np.log(here.sum()) + top
        ahead = here / here.sum()
    return float(total)


def _chain(d: Data, p: Values) -> float:
    y, rate = d["y"][:, None], p["rate"]
    return _filtered(np.log([0.5, 0.5]), np.log(p["trans"]), y * np.log(rate) - rate)


def _level(d: Data, p: Values) -> float:
    mean, var, total = 0.0, 25.0, 0.0
    for y in d["y"]:
        seen = var + p["noise"] ** 2
        total += stats.norm.logpdf(y, mean, np.sqrt(seen))
        mean, var = mean + var / seen * (y - mean), var * p["noise"] ** 2 / seen + p["drift"] ** 2
    return float(total)


def _volatility(d: Data, p: Values) -> float:
    wide = p["spread"]
    grid = np.linspace(-6, 6, 161) * wide
    step = stats.norm.logpdf(grid[None, :], p["keep"] * grid[:, None], wide * np.sqrt(1 - p["keep"] ** 2))
    cell = np.log(grid[1] - grid[0])
    emission = stats.norm.logpdf(d["y"][:, None], 0, np.exp(p["level"] + grid))
    return _filtered(stats.norm.logpdf(grid, 0, wide) + cell, step + cell, emission)


def _slope_likelihood(d: Data, p: Values) -> float:
    """On a grid: nodes of the prior miss the mass of groups in its tails (30 of them moved the maximum by a third of a
    standard error)."""
    at = np.linspace(-6, 6, 121), np.linspace(-6, 6, 61)
    prior = [stats.norm.logpdf(t) + np.log(t[1] - t[0]) for t in at]
    u, v = np.meshgrid(p["a"] + p["s"] * at[0], p["w"] + p["r"] * at[1], indexing="ij")
    log = prior[0][:, None] + prior[1] + np.zeros((d["group"].max() + 1, 1, 1))
    ages = np.unique(d["x"])
    totals = [by_group(d["group"], d["y"] * d["x"] ** k) for k in (0, 1)]
    log += totals[0][:, None, None] * u + totals[1][:, None, None] * v
    return float(special.logsumexp(log - sum(np.exp(u + v * t) for t in ages), axis=(1, 2)).sum())


def _two_levels(d: Data, p: Values) -> float:
    """A class of each group, summed out within the integral over its effect."""
    y = np.bincount(d["group"], d["y"]), np.bincount(d["group"])
    b = np.linspace(-8, 8, 1601) * p["tau"]
    prior = stats.norm.logpdf(b, 0, p["tau"]) + np.log(b[1] - b[0])
    share = np.log([1 - p["p"], p["p"]])
    each = [
        s + y[0][:, None] * (m + b) - y[1][:, None] * np.exp(m + b) + prior for m, s in zip(p["m"], share, strict=True)
    ]
    return float(special.logsumexp(each, axis=(0, 2)).sum())


def _row_kinds(d: Data, p: Values) -> float:
    def rows(b: Any) -> Any:
        return np.logaddexp(*(np.log(w) + poisson(d["y"][:, None], m + b) for w, m in zip(p["p"], p["m"], strict=True)))

    return integrated(d["group"], rows, 0.0, p["tau"])


def _growing(d: Data, p: Values) -> float:
    part = 1 / (1 + np.exp((p["middle"] - d["age"]) / p["pace"]))[:, None]
    return integrated(
        d["group"], lambda b: stats.norm.logpdf(d["y"][:, None], np.exp(b) * part, p["s"]), p["top"], p["spread"]
    )


def _probit(d: Data, p: Values) -> float:
    sign = 2 * d["y"] - 1
    return float(stats.norm.logcdf(sign * (p["a"] + p["w"] * d["x"])).sum())


def _probit_data(rng: np.random.Generator) -> Data:
    x = rng.normal(size=150)
    return {"x": x, "y": (0.3 + 0.9 * x + rng.normal(size=150) > 0).astype(int)}


def _beta_binomial(d: Data, p: Values) -> float:
    return float(stats.betabinom.logpmf(d["y"], d["trials"], p["a"], p["b"]).sum())


def _negative_binomial(d: Data, p: Values) -> float:
    return float(stats.nbinom.logpmf(d["y"], p["a"], p["rate"] / (1 + p["rate"])).sum())


CASES: dict[str, Case] = {
    "poisson intercepts": Case(
        INTERCEPTS.format(family="Poisson(log_rate = b[group[n]])"),
        "b",
        _grouped(40, 3, lambda rng, b: rng.poisson(np.exp(b))),
        _intercepts(poisson),
    ),
    "one or two rows": Case(
        INTERCEPTS.format(family="Poisson(log_rate = b[group[n]])"), "b", _sparse, _intercepts(poisson)
    ),
    "many groups": Case(
        INTERCEPTS.format(family="Poisson(log_rate = b[group[n]])"),
        "b",
        _grouped(1500, 3, lambda rng, b: rng.poisson(np.exp(b))),
        _intercepts(poisson),
    ),
    "little said": Case(
        INTERCEPTS.format(family="Bernoulli(logit = b[group[n]])"),
        "b",
        _grouped(200, 3, lambda rng, b: (rng.random(len(b)) < 1 / (1 + np.exp(-b))).astype(int)),
        _intercepts(logistic),
    ),
    "gaussian intercepts": Case(
        INTERCEPTS.format(family="Normal(b[group[n]], 1.5)"),
        "b",
        _grouped(40, 4, lambda rng, b: rng.normal(b, 1.5)),
        _intercepts(lambda y, b: stats.norm.logpdf(y, b, 1.5)),
    ),
    "logistic regression": Case(
        """
param a : real
param w : real
param tau : positive
for g in G:
    latent b[g] ~ Normal(0, tau)
for n in N:
    given group[n] : index[G]
    given x[n] : real
    observed y[n] ~ Bernoulli(logit = a + w * x[n] + b[group[n]])
""",
        "b",
        _regression,
        _logit_regression,
    ),
    "random slopes": Case(
        """
param a : real
param w : real
param s : positive
param r : positive
for g in G:
    latent u[g] ~ Normal(a, s)
    latent v[g] ~ Normal(w, r)
for n in N:
    given group[n] : index[G]
    given x[n] : real
    observed y[n] ~ Poisson(exp(u[group[n]] + v[group[n]] * x[n]))
""",
        "u, v",
        _slopes,
        _slope_likelihood,
    ),
    "growth": Case(
        """
param top : real
param spread : positive
param middle : positive
param pace : positive
param s : positive
for g in G:
    latent b[g] ~ Normal(top, spread)
for n in N:
    given group[n] : index[G]
    given age[n] : real
    observed y[n] ~ Normal(exp(b[group[n]]) / (1 + exp((middle - age[n]) / pace)), s)
""",
        "b",
        _growth,
        _growing,
    ),
    "volatility": Case(
        """
param level : real
param keep : real(min = -1, max = 1)
param spread : positive
for t in T:
    latent h[t] ~ Normal(0, spread) if t == 0 else Normal(keep * h[t-1], spread * sqrt(1 - keep^2))
    observed y[t] ~ Normal(0, exp(level + h[t]))
""",
        "h",
        _volatile,
        _volatility,
    ),
    "classes exact beside": Case(
        """
param p : unit
param tau : positive
param m[2] : real
for g in G:
    latent z[g] ~ Bernoulli(p)
    latent b[g] ~ Normal(0, tau)
for n in N:
    given group[n] : index[G]
    observed y[n] ~ Poisson(exp(m[z[group[n]]] + b[group[n]]))
""",
        "b",
        _mixed,
        _two_levels,
    ),
    "rows of two kinds": Case(
        """
param p : simplex[2]
param m[2] : real
param tau : positive
for g in G:
    latent b[g] ~ Normal(0, tau)
for n in N:
    given group[n] : index[G]
    latent z[n] ~ Categorical(p)
    observed y[n] ~ Poisson(exp(m[z[n]] + b[group[n]]))
""",
        "b",
        _rows_of_two_kinds,
        _row_kinds,
    ),
    "probit": Case(
        """
param a : real
param w : real
for n in N:
    given x[n] : real
    latent c[n] ~ Normal(a + w * x[n], 1)
    observed y[n] ~ Delta(c[n] > 0)
""",
        "c",
        _probit_data,
        _probit,
    ),
    "chain": Case(
        """
param trans[2] : simplex[2]
param rate[2] : positive
for t in T:
    latent z[t] ~ Categorical([0.5, 0.5]) if t == 0 else Categorical(trans[z[t-1]])
    observed y[t] ~ Poisson(rate[z[t]])
""",
        "z",
        _switching,
        _chain,
    ),
    "local level": Case(
        """
param drift : positive
param noise : positive
for t in T:
    latent h[t] ~ Normal(0, 5) if t == 0 else Normal(h[t-1], drift)
    observed y[t] ~ Normal(h[t], noise)
""",
        "h",
        _walk,
        _level,
    ),
    "mixture": Case(
        """
param p : simplex[2]
param m[2] : real
param s : positive
for n in N:
    latent z[n] ~ Categorical(p)
    observed y[n] ~ Normal(m[z[n]], s)
""",
        "z",
        lambda rng: {"y": rng.normal(np.where(rng.random(200) < 0.4, 0.0, 2.6), 1.0)},
        _mixture,
    ),
    "gamma rates": Case(
        """
param a : positive
param rate : positive
for n in N:
    latent u[n] ~ Gamma(a, rate)
    observed y[n] ~ Poisson(u[n])
""",
        "u",
        lambda rng: {"y": rng.poisson(rng.gamma(2.0, 1.5, 200))},
        _negative_binomial,
    ),
    "beta shares": Case(
        """
param a : positive
param b : positive
for n in N:
    given trials[n] : count
    latent p[n] ~ Beta(a, b)
    observed y[n] ~ Binomial(trials[n], p[n])
""",
        "p",
        lambda rng: {"trials": np.full(80, 12), "y": rng.binomial(12, rng.beta(2, 3, 80))},
        _beta_binomial,
    ),
}
