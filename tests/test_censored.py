"""Censored data: what is missing of a variable lies where the conditions on it say, against scipy's distributions."""

from __future__ import annotations

import warnings
from typing import Any

import mpmath
import numpy as np
import pytest
from scipy import optimize, special, stats

import emdsl
from emdsl.fit import verify
from emdsl.runtime.numeric.tails import log_gamma_cdf, log_gamma_sf

pytestmark = pytest.mark.filterwarnings("ignore::emdsl.runtime.data.faults.ConvergenceWarning")

RNG = np.random.default_rng(5)
X = RNG.normal(size=60)
LIMIT = RNG.exponential(2, 60) + 0.1

NORMAL = """
model M
param a : real
param b : real
param s : positive
for n in N:
    given    x[n] : real
    observed y[n] ~ Normal(a + b * x[n], s)
    observed low[n] ~ Delta(y[n] <= 0.5)
"""
TWICE = """
model M
param a : real
param b : real
param s : positive
for n in N:
    given    x[n] : real
    given    seen[n] : bool
    latent   u[n] ~ Normal(a + b * x[n], s)
    observed low[n] ~ Delta(u[n] <= 0.5)
    observed y[n] ~ Delta(u[n]) if seen[n] else Delta(0)
"""


def tobit(data: Any, theta: Any) -> float:
    """The log-likelihood of a Normal regression of which what lies below 0.5 is known to lie there."""
    a, b, s = theta
    m = a + b * data["x"]
    each = np.where(data["low"] == 1, stats.norm.logcdf((0.5 - m) / s), stats.norm.logpdf(data["full"], m, s))
    return float(each.sum())


@pytest.mark.parametrize("by_latent", [False, True])
def test_below_a_limit(by_latent: bool) -> None:
    """A Normal regression (Tobin 1958), its small values missing, or seen through a latent."""
    full = 0.3 + X + RNG.normal(size=60)
    low = full <= 0.5
    data = {"x": X, "low": low.astype(int), "full": full}
    told = {"x": X, "low": data["low"], "y": np.where(low, 0.0 if by_latent else np.nan, full)}
    if by_latent:
        told["seen"] = ~low
    model = emdsl.compile(text=TWICE if by_latent else NORMAL)
    start = {"a": 0.1, "b": 0.8, "s": 1.3}
    fit = model.fitter(tol=1e-12, max_iter=2000, init=start).fit(told)
    np.testing.assert_allclose(fit.history_[0], tobit(data, (0.1, 0.8, 1.3)), rtol=1e-12)
    best = optimize.minimize(lambda t: -tobit(data, (t[0], t[1], np.exp(t[2]))), np.zeros(3), tol=1e-10)
    np.testing.assert_allclose(fit.log_likelihood_, -best.fun, rtol=1e-10)
    mean = fit.posterior_["u" if by_latent else "y"]["mean"]
    a, b, s = (float(fit.params_[n]) for n in "abs")
    m = a + b * X
    cut = stats.truncnorm.mean(-np.inf, (0.5 - m) / s, m, s)
    np.testing.assert_allclose(mean, np.where(low, cut, full), rtol=1e-9)


@pytest.mark.parametrize(
    ("family", "domain", "known"),
    [
        ("Weibull(k, exp(b * x[n]))", "positive", lambda k, b: stats.weibull_min(k, scale=np.exp(b * X))),
        ("Gamma(k, exp(b * x[n]))", "positive", lambda k, b: stats.gamma(k, scale=np.exp(-b * X))),
        ("LogNormal(b * x[n], k)", "positive", lambda k, b: stats.lognorm(k, scale=np.exp(b * X))),
        ("StudentT(4, b * x[n], k)", "real", lambda k, b: stats.t(4, b * X, k)),
    ],
)
@pytest.mark.parametrize("above", [True, False])
def test_times_that_were_not_seen_to_end(family: str, domain: str, known: Any, above: bool) -> None:
    """Survival with a covariate: the rows that were not seen to end count by the tail beyond where they were left."""
    text = f"""
model M
param k : positive
param b : real
for n in N:
    given    x[n] : real
    given    limit[n] : positive
    observed y[n] : {domain} ~ {family}
    observed over[n] ~ Delta(y[n] {">" if above else "<"} limit[n])
"""
    dist = known(1.4, 0.3)
    y = dist.rvs(random_state=np.random.default_rng(2), size=60)
    over = y > LIMIT if above else y < LIMIT
    tail = dist.logsf(LIMIT) if above else dist.logcdf(LIMIT)
    wanted = np.where(over, tail, dist.logpdf(y)).sum()
    data = {"x": X, "limit": LIMIT, "y": np.where(over, np.nan, y), "over": over.astype(int)}
    fit = emdsl.compile(text=text).fitter(max_iter=0, init={"k": 1.4, "b": 0.3}).fit(data)
    assert fit.log_likelihood_ == pytest.approx(wanted, abs=1e-9)
    if "Gamma" in family:
        row = int(np.flatnonzero(over)[0])
        of_row = stats.gamma(1.4, scale=np.exp(-0.3 * X[row]))
        ends = {"lb": LIMIT[row]} if above else {"lb": 0, "ub": LIMIT[row]}
        first, second = (of_row.expect(f, conditional=True, **ends) for f in (lambda t: t, lambda t: t * t))
        found = fit.posterior_["y"]
        np.testing.assert_allclose([found["mean"][row], found["var"][row]], [first, second - first**2], rtol=1e-8)
        np.testing.assert_allclose(found["mean"][~over], y[~over], rtol=1e-12)


FORMS = {  # what is seen of u, and the ends between which it is seen itself
    "min(u{k}[n], hi[n])": (-np.inf, 1),
    "max(lo[n], u{k}[n])": (0, np.inf),
    "min(max(u{k}[n], lo[n]), hi[n])": (0, 1),
    "-max(-u{k}[n], -hi[n])": (-np.inf, 1),
    "u{k}[n] if u{k}[n] < hi[n] else hi[n]": (-np.inf, 1),
    "lo[n] if u{k}[n] < lo[n] else hi[n] if u{k}[n] > hi[n] else u{k}[n]": (0, 1),
}
LIMITED = (
    "model M\nparam a : real\nparam s : positive\nfor n in N:\n    given lo[n] : real\n    given hi[n] : real\n"
    + "".join(
        f"    latent u{k}[n] ~ Normal(a, s)\n    observed y{k}[n] ~ Delta({form.format(k=k)})\n"
        for k, form in enumerate(FORMS)
    )
)


def test_what_a_limit_leaves_to_be_seen() -> None:
    """A Tobit model in a textbook's form, `y = min(u, c)` (Amemiya 1984): mass at the limits, a density between.

    Far from the origin as near it; and what lies beyond a limit cannot have been seen.
    """
    model, full = emdsl.compile(text=LIMITED), 0.4 + RNG.normal(size=40)
    for origin in (0.0, 1e6):
        data: dict[str, Any] = {"lo": np.full(40, origin), "hi": np.full(40, 1 + origin)}
        wanted = 0.0
        for k, (low, high) in enumerate(FORMS.values()):
            data[f"y{k}"] = np.clip(full + origin, low + origin, high + origin)
            each = np.where(full <= low, stats.norm.logcdf(low, 0.4, 1.3), stats.norm.logpdf(full, 0.4, 1.3))
            wanted += np.where(full >= high, stats.norm.logsf(high, 0.4, 1.3), each).sum()
        fit = model.fitter(max_iter=0, init={"a": 0.4 + origin, "s": 1.3}).fit(data)
        np.testing.assert_allclose(fit.log_likelihood_, wanted, rtol=1e-10)
    data["y0"] = np.where(np.arange(40) == 7, data["hi"] + 1, data["y0"])
    with pytest.raises(emdsl.DataError, match=r"1 row has zero density.*row 7"):
        model.fitter().fit(data)


MIXTURE = """model TwoKinds
size K = 2
param w : simplex[K]
param k[K] : positive
param s[K] : positive
for n in N:
    latent z[n] ~ Categorical(w)
    observed t[n] ~ Weibull(k[z[n]], s[z[n]])
    observed late[n] ~ Delta(t[n] > 4)
"""


def test_a_mixture_of_times_of_which_some_were_not_seen_to_end() -> None:
    """Where EM ends, the likelihood by hand is level, from seeded starts that tell the kinds apart."""
    rng = np.random.default_rng(14)
    t = np.where(rng.random(60) < 0.4, rng.weibull(3, 60), 5 * rng.weibull(1.5, 60))
    late = t >= 4
    est = emdsl.compile(text=MIXTURE).fitter(seed=0, tol=1e-9).fit({"t": np.where(late, np.nan, t), "late": late + 0})
    w, k, s = (est.params_[n] for n in ("w", "k", "s"))
    assert abs(s[0] - s[1]) > 1

    def likelihood(k: Any, s: Any) -> Any:
        seen = np.log((w * stats.weibull_min.pdf(t[~late, None], k, scale=s)).sum(1)).sum()
        return seen + late.sum() * np.log((w * stats.weibull_min.sf(4, k, scale=s)).sum())

    assert est.log_likelihood_ == pytest.approx(likelihood(k, s), abs=5e-4)
    for step in np.eye(2) * 1e-5:
        assert abs(likelihood(k + step, s) - likelihood(k - step, s)) / 2e-5 < 5e-3
        assert abs(likelihood(k, s + step) - likelihood(k, s - step)) / 2e-5 < 5e-3


def test_times_known_to_lie_in_an_interval() -> None:
    """Visits between which something happened, or (a row seen outside) did not."""
    rng = np.random.default_rng(3)
    lo = np.floor(2 * rng.weibull(1.5, 30))
    inside = np.r_[np.zeros(1), np.ones(29)]
    text = """model Visits
param k : positive
param s : positive
for n in N:
    given lo[n] : real
    latent t[n] ~ Weibull(k, s)
    observed inside[n] ~ Delta(lo[n] < t[n] < lo[n] + 1)
"""
    est = emdsl.compile(text=text).fitter(max_iter=0, init={"k": 1.5, "s": 2.0}).fit({"lo": lo, "inside": inside})
    chance = np.diff(stats.weibull_min.cdf([lo, lo + 1], 1.5, scale=2), axis=0)[0]
    assert est.log_likelihood_ == pytest.approx(np.log(np.where(inside, chance, 1 - chance)).sum(), abs=0.05)
    est = (
        emdsl.compile(text=text).fitter(max_iter=0, init={"k": 1.5, "s": 2.0}).fit({"lo": lo[1:], "inside": inside[1:]})
    )
    assert est.log_likelihood_ == pytest.approx(np.log(chance[1:]).sum(), abs=1e-6)


def test_kinds_are_told_apart_at_the_start_where_times_stand_at_points() -> None:
    """Two rates that were alike at the start would stay so."""
    text = MIXTURE.replace("Weibull(k[z[n]], s[z[n]])", "Exponential(1 / s[z[n]])").replace(
        "param k[K] : positive\n", ""
    )
    t = np.r_[0.1 * np.arange(1, 11), np.arange(1.5, 3.5, 0.2), np.full(5, np.nan)]
    est = emdsl.compile(text=text).fitter(seed=0, max_iter=0).fit({"t": t, "late": np.isnan(t) + 0})
    assert abs(np.diff(est.params_["s"])[0]) > 0.1


def test_a_density_that_piles_up_at_an_end_is_no_larger_than_it_is() -> None:
    """Logistic functions are 0 before their logarithms are: the volume beside them was counted at a smaller number."""
    text = """model Visits
param k : positive
for n in N:
    latent t[n] ~ Weibull(k, 0.01)
    observed inside[n] ~ Delta(0 < t[n] < 1)
"""
    est = emdsl.compile(text=text).fitter(max_iter=0, init={"k": 0.01}).fit({"inside": np.ones(2)})
    assert est.log_likelihood_ == pytest.approx(2 * stats.weibull_min.logcdf(1, 0.01, scale=0.01), abs=0.01)


SEEN = np.array([0.3, 1.2, 0.7, 2.5, 0.1, 1.9])
OVER = np.array([0, 1, 0, 1, 0, 0])  # of which these were not seen to end
GROUP = np.array([0, 0, 1, 1, 2, 2])
Z = np.array([0.2, -1.0, 0.5, 1.4, -0.3, 0.9])
CURED = "    given c[n] : positive\n    latent cured[n] ~ Bernoulli(a)\n"
HEAD = "    given z[n] : real\n"


def _cured(tail: Any, log_density: Any) -> float:
    return float(np.where(OVER, np.log(0.4 + 0.6 * tail), np.log(0.6) + log_density).sum())


def _frailty() -> float:
    """Gamma frailties of three groups: a closed integral of `u^d exp(-u H)` (Hougaard 2000)."""
    hazard = np.bincount(GROUP, np.exp(0.7 * Z) * SEEN)
    count, a = np.bincount(GROUP, 1 - OVER), 0.4
    each = a * np.log(a) - special.gammaln(a) + special.gammaln(a + count) - (a + count) * np.log(a + hazard)
    return float((0.7 * Z * (1 - OVER)).sum() + each.sum())


def _inside(dist: Any, low: Any, high: Any) -> float:
    p = np.diff(dist.cdf([low + 0 * Z, np.maximum(low, high)]), axis=0)[0]
    return float(np.log(np.where(OVER, p, 1 - p)).sum())


def _heaped() -> float:
    fine, wide = np.diff(stats.norm(0, 0.7).cdf([Z, Z + 1, Z + 2]), axis=0)
    p = 0.6 * fine + 0.4 * EVEN * (fine + wide)
    return float(np.log(np.where(OVER, p, 1 - p)).sum())


START = np.array([0.05, 3.0])
EVEN = np.array([1, 0, 1, 1, 0, 0])
FAMILIES = """model M
family Gompertz(t : positive | a : positive, b : positive) = log(a) + b*t - a/b*(exp(b*t) - 1)
family Pareto(t : real(min = m) | m : positive, a : positive) = log(a) + a*log(m) - (a + 1)*log(t)
family Lomax(t : positive | s : positive, a : positive) = log(a) - log(s) - (a + 1)*log(1 + t/s)
family Logistic(t : real | m : real, s : positive) = -(t - m)/s - log(s) - 2*log1p(exp(-(t - m)/s))
family Gumbel(t : real | m : real, s : positive) = -(t - m)/s - exp(-(t - m)/s) - log(s)
"""
OWN: list[tuple[str, str, Any]] = [  # in which the tail is a part of the density
    ("Gompertz(a, b)", ">", stats.gompertz(0.4 / 0.7, scale=1 / 0.7).logsf),
    ("Pareto(a, b)", "<", stats.pareto(0.7, scale=0.4).logcdf),
    ("Lomax(a, b)", ">", stats.lomax(0.7, scale=0.4).logsf),
    ("Logistic(a, b)", "<", stats.logistic(0.4, 0.7).logcdf),
    ("Gumbel(a, b)", ">", stats.gumbel_r(0.4, 0.7).logsf),
]
WEIBULL = stats.weibull_min(0.7, scale=1.5)
LOG = stats.lognorm(0.7, scale=np.exp(0.4))
TAILS = {  # parameters a : unit, b : positive at 0.4, 0.7; the rest of the model; how the latents are found; log p
    "a mixture cure model": (
        CURED + "    observed t[n] ~ Weibull(b, 1.5)\n"
        "    observed over[n] ~ Delta(1) if cured[n] else Delta(t[n] > c[n])\n",
        {"cured": "exact:enumeration", "t": "exact:tail"},
        lambda: _cured(WEIBULL.sf(SEEN), WEIBULL.logpdf(SEEN)),
    ),
    "what is seen of a time or of no end": (
        CURED + "    latent t[n] ~ Exponential(b)\n"
        "    observed y[n] ~ Delta(c[n]) if cured[n] else Delta(min(t[n], c[n]))\n",
        {"cured": "exact:enumeration", "t": "exact:tail"},
        lambda: _cured(np.exp(-0.7 * SEEN), np.log(0.7) - 0.7 * SEEN),
    ),
    "a time, and whether it was longer": (  # at c nothing is between: the log was no number
        HEAD + "    given c[n] : positive\n    latent t[n] ~ Weibull(b, 1.5)\n"
        "    observed over[n] ~ Delta(t[n] > c[n])\n    observed y[n] ~ Delta(min(t[n], c[n]))\n",
        {"t": "exact:tail"},
        lambda: np.where(OVER, WEIBULL.logsf(SEEN), WEIBULL.logpdf(SEEN)).sum(),
    ),
    "a frailty": (
        HEAD + "    given c[n] : positive\n    given g[n] : index[G]\n"
        "    observed t[n] ~ Exponential(u[g[n]] * exp(b * z[n]))\n    observed over[n] ~ Delta(t[n] > c[n])\n"
        "for k in G: latent u[k] ~ Gamma(a, a)\n",
        {"u": "exact:conjugate", "t": "exact:tail"},
        _frailty,
    ),
    "families of one's own": (
        HEAD + "".join(
            f"    latent t{k}[n] ~ {call}\n    observed s{k}[n] ~ Delta(t{k}[n] {op} z[n] + 2)\n"
            for k, (call, op, _) in enumerate(OWN)
        ),
        {f"t{k}": "exact:tail" for k in range(5)},
        lambda: sum(f(Z + 2).sum() for _, _, f in OWN),
    ),
    "a support that does not start at 0": (
        HEAD + "    given c[n] : positive\n    given w[n] : category[2]\n"
        "    observed t[n] ~ Pareto([0.05, 3.0][w[n]], b)\n    observed over[n] ~ Delta(t[n] > c[n])\n",
        {"t": "exact:tail"},
        lambda: np.where(OVER, (p := stats.pareto(0.7, scale=START[OVER])).logsf(SEEN), p.logpdf(SEEN)).sum(),
    ),
    "intervals of a family that takes logs": (
        HEAD + "    given c[n] : positive\n    latent t[n] ~ LogNormal(a, b)\n"
        "    observed over[n] ~ Delta((t[n] > c[n]) + (t[n] > 2 * c[n]))\n",
        {"t": "exact:tail"},
        lambda: np.log(np.where(OVER, (p := LOG.cdf(SEEN * [[1], [2]]))[1] - p[0], p[0])).sum(),
    ),
    "a threshold that is estimated": (
        HEAD + "    latent e[n] ~ Normal(0, 1)\n    observed over[n] ~ Delta(a + b * z[n] + e[n] > 0)\n",
        {"e": "exact:tail"},
        lambda: stats.norm.logcdf((0.4 + 0.7 * Z) * np.where(OVER, 1, -1)).sum(),
    ),
    "outside of an interval": (
        HEAD + "    latent e[n] ~ Laplace(a, b)\n    observed over[n] ~ Delta(-1 < e[n] < z[n] + 1)\n",
        {"e": "exact:tail"},
        lambda: _inside(stats.laplace(0.4, 0.7), -1, Z + 1),
    ),
    "heaping": (  # what was rounded to 2 lies in wider intervals, at even numbers alone
        HEAD + "    given c[n] : bool\n    latent coarse[n] ~ Bernoulli(a)\n    latent e[n] ~ Normal(0, b)\n"
        "    observed over[n] ~ Delta(z[n] <= e[n] < z[n] + 2 and c[n]) if coarse[n] else "
        "Delta(z[n] <= e[n] < z[n] + 1)\n",
        {"coarse": "exact:enumeration", "e": "exact:tail"},
        _heaped,
    ),
    "the support of a time": (
        HEAD + "    latent e[n] ~ Weibull(b, a)\n    observed over[n] ~ Delta(z[n] < e[n] < z[n] + 2)\n",
        {"e": "exact:tail"},
        lambda: _inside(stats.weibull_min(0.7, scale=0.4), Z, Z + 2),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TAILS)
def test_mass_between_ends_is_a_factor_of_all_else(name: str) -> None:
    """Against the log-likelihood by hand."""
    rest, plan, log_p = TAILS[name]
    head = FAMILIES if "Pareto" in rest else "model M\n"
    model = emdsl.compile(text=f"{head}param a : unit\nparam b : positive\nfor n in N:\n{rest}")
    t = np.where(OVER, np.nan, SEEN)
    data = {
        "t": t,
        "over": OVER,
        "c": SEEN + 0.5 * (1 - OVER) * ("y[n]" in rest),
        "z": Z,
        "g": GROUP,
        "y": SEEN,
        "w": OVER,
    }
    data |= {"c": EVEN} if "coarse" in rest else {}
    told = {n: v for n, v in data.items() if f" {n}[n]" in rest}
    if "latent t" in rest:
        told = {n: v for n, v in told.items() if n != "t"} | {f"s{k}": np.ones(6) for k in range(5) if "t4" in rest}
    fit = model.fitter(max_iter=0, init={"a": 0.4, "b": 0.7}).fit(told)
    assert {n: p.method for n, p in fit._variant.current.plan.items()} == plan
    assert fit.log_likelihood_ == pytest.approx(log_p(), abs=1e-12)


def test_data_that_a_frailty_s_family_does_not_take_up() -> None:
    """A time known to lie below: what was exact for data without such rows is not, and is found for each."""
    text = f"model M\nparam a : unit\nparam b : positive\nfor n in N:\n{TAILS['a frailty'][0]}"
    over = {"t": np.where(OVER, np.nan, SEEN), "over": OVER, "c": SEEN, "z": Z, "g": GROUP}
    under = {**over, "t": np.full(6, np.nan), "over": np.zeros(6)}
    at = {"a": 0.4, "b": 0.7}
    est = emdsl.compile(text=text).fitter(max_iter=0, init=at).fit(over)
    hazard = (np.exp(0.7 * Z) * SEEN).reshape(3, 2)  # 1 - exp(-u h), of two, times each other
    sums = [np.zeros(3), hazard[:, 0], hazard[:, 1], hazard.sum(1)]
    chance = sum(sign * (0.4 / (0.4 + h)) ** 0.4 for sign, h in zip((1, -1, -1, 1), sums, strict=True))
    assert 6 * est.score(under) == pytest.approx(np.log(chance).sum(), abs=1e-4)
    assert 6 * est.score(over) == pytest.approx(_frailty(), abs=1e-12)


def test_a_choice_between_two_latents_is_told() -> None:
    """One is integrated out by its tail, one stands at points: the equations in the model's own coordinates were
    derived without the tail, which raised."""
    text = """
        model Pairs
        param b : real[P]
        for n in N:
            given x[n] : real[P]
            latent u[n] ~ Normal(x[n] @ b, 1)
            latent v[n] ~ Normal(0, 1)
            observed y[n] ~ Delta(u[n] > v[n])
    """
    model = emdsl.compile(text=text)
    assert [p.method for p in model.plan.values()] == ["quadrature", "exact:tail"]
    assert "x[n, p]" in str(model.updates["b"].equation) and "Newton" in str(model.derivation)


ORDERED_PROBIT = """
model OrderedProbit
param cut : ordered[3]
param beta : real
param sd : positive
for g in G:
    latent b[g] ~ Normal(0, sd)
    for i in I:
        given x[g, i] : real
        latent u[g, i] ~ Normal(beta * x[g, i] + b[g], 1)
        observed y[g, i] : category[4] ~ Delta(
            0 if u[g, i] < cut[0] else 1 if u[g, i] < cut[1] else 2 if u[g, i] < cut[2] else 3
        )
infer b by quadrature(points = 41)
"""


def test_steps_of_a_latent_are_intervals() -> None:
    """Each case was the larger of two intervals, and of ordered cuts the largest was not known: 50 MB of module."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, 3))
    start = {"cut": np.array([-0.9, 0.2, 1.1]), "beta": 0.7, "sd": 0.8}
    y = np.searchsorted(start["cut"], 0.7 * x + rng.normal(0, 1.3, x.shape))
    at, weight = np.polynomial.hermite_e.hermegauss(101)

    def value(p: Any) -> float:
        ends = np.r_[-np.inf, p["cut"], np.inf]
        mean = p["beta"] * x[..., None] + p["sd"] * at
        each = stats.norm.cdf(ends[y + 1][..., None] - mean) - stats.norm.cdf(ends[y][..., None] - mean)
        return float(np.log(each.prod(1) @ weight / weight.sum()).sum())

    model = emdsl.compile(text=ORDERED_PROBIT)
    assert len(model.source) < 1_000_000
    fit = model.fitter(max_iter=0).fit({"x": x, "y": y}, init=start)
    assert fit.log_likelihood_ == pytest.approx(value(start), rel=1e-8)
    fit = model.fitter(max_iter=3).fit({"x": x, "y": y}, init=start)
    assert fit.log_likelihood_ == pytest.approx(value(fit.params_), rel=1e-8) and fit.log_likelihood_ > value(start)


@pytest.mark.parametrize(
    ("cuts", "sd"),
    [
        ("param cut : ordered[3]", "1"),
        ("param cut : ordered[K]", "1"),
        ("let cut = [-1, 0.2, 1.5]", "s"),
        ("given cut : ordered[3]", "s"),
    ],
)
def test_counted_thresholds(cuts: str, sd: str) -> None:
    """As a sum over them they were refused, be they parameters, data or literals."""
    model = emdsl.compile(
        text=f"""
        model Counted
        {cuts}
        param beta : real
        {"param s : positive" if sd == "s" else ""}
        for n in N:
            given x[n] : real
            latent u[n] ~ Normal(beta * x[n], {sd})
            observed y[n] : category[4] ~ Delta(sum(u[n] > cut[k] for k in {"K" if "[K]" in cuts else 3}))
    """
    )
    cut, scale = np.array([-1, 0.2, 1.5]), 1.3 if sd == "s" else 1.0
    y = np.searchsorted(cut, X + RNG.normal(size=60))
    ends = np.r_[-np.inf, cut, np.inf]
    mass = stats.norm.cdf((ends[y + 1] - 0.8 * X) / scale) - stats.norm.cdf((ends[y] - 0.8 * X) / scale)
    start = {"beta": 0.8} | ({"s": scale} if sd == "s" else {"cut": cut})
    data = {"x": X, "y": y} | ({"cut": cut} if cuts.startswith("given") else {})
    sizes = {"K": 3} if "[K]" in cuts else {}
    fit = model.fitter(max_iter=0, **sizes).fit(data, init=start)
    assert fit.log_likelihood_ == pytest.approx(np.log(mass).sum(), rel=1e-11)


def test_a_limit_beside_times_that_are_integrated_out_keeps_its_closed_forms() -> None:
    """A Tobit beside censored times under frailties was integrated out with these, and climbed by Newton."""
    tobit_alone = """model M
param b : real
param s2 : positive
for n in N:
    latent u[n] ~ Normal(b, var = s2)
    observed y[n] ~ Delta(max(u[n], 0))
"""
    both = f"""{tobit_alone}param rate : positive
for f in F:
    latent w[f] ~ Gamma(2, 2)
for i in I:
    given of[i] : index[F]
    given until[i] : positive
    latent t[i] ~ Exponential(w[of[i]] * rate)
    observed seen[i] ~ Delta(min(t[i], until[i]))
"""
    y, times = np.maximum(RNG.normal(0.4, 1, 80), 0), RNG.exponential(1, 60)
    until = np.full(60, 1.2)
    rest = {"of": np.arange(60) % 12, "until": until, "seen": np.minimum(times, until)}
    model = emdsl.compile(text=both)
    assert {n: c.method for n, c in model.derived.choices.items()} == {
        "u": "exact:conjugate", "w": "exact:conjugate", "t": "exact:tail"}  # fmt: skip
    assert model.updates["b"].kind == model.updates["s2"].kind == model.updates["rate"].kind == "closed form"
    asked = (model, {"y": y, **rest}), (emdsl.compile(text=tobit_alone), {"y": y})
    fits = [m.fitter(tol=1e-12, seed=0).fit(data) for m, data in asked]
    for name in ("b", "s2"):
        assert fits[0].params_[name] == pytest.approx(fits[1].params_[name], rel=1e-5)


FRAILTY = """model Frailty
param theta : positive
param rate : positive
for f in F:
    latent w[f] ~ Gamma(theta, theta)
for i in I:
    given of[i] : index[F]
    given until[i] : positive
    latent t[i] ~ Exponential(w[of[i]] * rate)
    observed seen[i] ~ Delta(min(t[i], until[i]))
"""


def test_moments_that_do_not_exist_are_not_told() -> None:
    """Times behind a frailty fall off with a power: a variance was told as 2e7, and moved with the points."""
    model = emdsl.compile(text=FRAILTY)
    data = {"of": np.array([0, 1, 2, 2]), "until": np.ones(4), "seen": np.array([1.0, 0.3, 1.0, 0.5])}
    for theta, mean, var in ((0.7, np.nan, np.nan), (1.3, 1 + 2.3 / 0.3, np.nan), (3.0, 3.0, 12.0)):
        start = {"theta": theta, "rate": 1.0}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit = model.fitter(max_iter=0, init=start, seed=0).fit(data)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            told = fit.posterior(data)["t"]
        assert told["mean"][0] == pytest.approx(mean, rel=1e-4, nan_ok=True)
        assert told["var"][0] == pytest.approx(var, rel=1e-3, nan_ok=True)
        assert told["mean"][1] == pytest.approx(0.3) and told["var"][1] == pytest.approx(0, abs=1e-12)
        assert any("tails so heavy" in str(w.message) for w in said) == (theta < 2)


def test_what_the_certificate_knows_of_heavy_tails() -> None:
    """The nodes of its own quadrature left out the frailties near 0, 7e-8 of the log-likelihood, and it failed."""
    model = emdsl.compile(text=FRAILTY)
    found = verify.certify(model, 0, False, ("log-likelihood", "posterior"))
    assert found.passed, str(found)
    assert {"at the start", "after three M-steps"} <= {c.subject for c in found.checks if c.status == "passed"}


def test_masses_that_underflow_at_points_keep_their_logarithms() -> None:
    """Where log S was no number at one of 161 points, Newton of a rate had steps of 1e-8 only."""
    text = """model M
param rate : positive
for f in F:
    latent w[f] ~ Normal(0, 1)
for i in I:
    given of[i] : index[F]
    given until[i] : positive
    latent t[i] ~ Gamma(2, rate = rate * exp(w[of[i]]))
    observed seen[i] ~ Delta(min(t[i], until[i]))
infer w by quadrature(points = POINTS)
"""
    until = np.linspace(0.5, 3, 24)
    seen = np.minimum(RNG.gamma(2, 1.0, 24), until)
    data = {"of": np.arange(24) % 6, "until": until, "seen": seen}
    models = [emdsl.compile(text=text.replace("POINTS", str(points))) for points in (41, 201)]
    rates = [float(m.fitter(max_iter=1).fit(data, init={"rate": 0.3}).params_["rate"]) for m in models]
    assert rates[1] == pytest.approx(rates[0], rel=1e-5) != 0.3


@pytest.mark.parametrize("shape", [0.3, 2.5, 300.0, 1e6])
@pytest.mark.parametrize("times", [1e-200, 1e-3, 0.3, 3.0, 1e3, 1e20])
def test_logarithms_of_gamma_tails(shape: float, times: float) -> None:
    at = mpmath.mpf(shape * times)
    if times > 1:
        found, right = log_gamma_sf(shape, float(at)), mpmath.log(mpmath.gammainc(shape, at, regularized=True))
    else:
        whole = mpmath.hyp1f1(1, mpmath.mpf(shape) + 1, at)
        found = log_gamma_cdf(shape, float(at))
        right = shape * mpmath.log(at) - at - mpmath.loggamma(mpmath.mpf(shape) + 1) + mpmath.log(whole)
    assert float(found) == pytest.approx(float(right), rel=1e-9, abs=1e-14)


@pytest.mark.parametrize("unit", [1e-10, 1e-5, 1e5, 1e10])
def test_means_of_censored_times_whatever_their_unit(unit: float) -> None:
    """Found by chance: points half as many left the variance 4 % off where times are seen in units of 1e-10."""
    until = np.array([1.0, 0.5, 2.0]) * unit
    model = emdsl.compile(
        text="""
        model M
        param rate : positive
        for n in N:
            given until[n] : positive
            latent t[n] ~ Exponential(rate)
            observed seen[n] ~ Delta(min(t[n], until[n]))
        """
    )
    told = model.fitter(max_iter=0, init={"rate": 1 / unit}).fit({"until": until, "seen": until}).posterior_["t"]
    np.testing.assert_allclose(told["mean"], until + unit, rtol=1e-5)
    np.testing.assert_allclose(told["var"], unit**2, rtol=1e-4)


def test_what_is_known_to_lie_above_a_negative_number_has_all_of_its_mean() -> None:
    """Found by chance: of a positive latent beside data below 0 a mean of 0 was told."""
    text = """model M
param r : real
param s : positive
param m : real
for n in N:
    latent u[n] ~ LogNormal(r, s)
    latent v[n] ~ Normal(m, 1.5)
    observed y[n] ~ Delta(min(u[n], v[n]))
"""
    y, start = np.array([-2.0, -0.5, 0.7]), {"r": 0.2, "s": 1.3, "m": 0.5}
    told = emdsl.compile(text=text).fitter(max_iter=0, init=start).fit({"y": y}).posterior_["u"]
    u, v = stats.lognorm(1.3, scale=np.exp(0.2)), stats.norm(0.5, 1.5)
    share = u.pdf(0.7) * v.sf(0.7) / (u.pdf(0.7) * v.sf(0.7) + v.pdf(0.7) * u.sf(0.7))
    above = u.expect(lambda x: x, lb=0.7, conditional=True)
    np.testing.assert_allclose(told["mean"], [u.mean(), u.mean(), share * 0.7 + (1 - share) * above], rtol=1e-7)
    np.testing.assert_allclose(told["var"][:2], u.var(), rtol=1e-7)


@pytest.mark.parametrize("sds", [(0.7, 1.3), (0.2, 0.5), (0.1, 0.3)])
def test_moments_below_a_number_that_hardly_anything_is_below(sds: tuple[float, float]) -> None:
    """Against sixty digits: 1 - S(y) had none, and the moments were NaN (night 12107)."""
    text = """
        model Latest
        param w : simplex[2]
        param r[2] : positive
        param m : real
        param s[2] : positive
        for n in N:
            latent z[n] ~ Categorical(w)
            latent u[n] ~ Exponential(r[z[n]])
            latent v[n] ~ LogNormal(m, s[z[n]])
            observed y[n] ~ Delta(max(u[n], v[n]))
    """
    y, start = np.array([0.02, 0.2, 1.0, 5.0, 50.0]), {"w": [0.4, 0.6], "r": [1.0, 0.5], "m": 0.2, "s": list(sds)}
    told = emdsl.compile(text=text).fitter(max_iter=0).fit({"y": y}, init=start).posterior_["v"]
    for k, b in enumerate(map(float, y)):
        with mpmath.workdps(60):
            total, first, second = mpmath.mpf(0), mpmath.mpf(0), mpmath.mpf(0)
            for w, r, s in zip(start["w"], start["r"], sds, strict=True):
                at = (mpmath.log(b) - mpmath.mpf(0.2)) / s
                seen, last = mpmath.npdf(at) / (s * b) * (1 - mpmath.exp(-r * b)), r * mpmath.exp(-r * b)
                below = [
                    mpmath.exp(j * mpmath.mpf(0.2) + (j * s) ** 2 / mpmath.mpf(2)) * mpmath.ncdf(at - j * s)
                    for j in range(3)
                ]
                total += w * (seen + last * below[0])
                first += w * (seen * b + last * below[1])
                second += w * (seen * b**2 + last * below[2])
            mean = first / total
            wanted = float(mean), float(second / total - mean**2)
        assert told["mean"][k] == pytest.approx(wanted[0], rel=1e-12)
        assert told["var"][k] == pytest.approx(wanted[1], rel=1e-7)
