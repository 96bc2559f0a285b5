"""Gaussian latents seen by their sign, an interval or thresholds, against scipy's truncated normals and integrals."""

from __future__ import annotations

import math
import warnings
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scipy import integrate, special, stats

import emdsl
from emdsl.runtime.montecarlo.sampler import Chain
from emdsl.runtime.numeric.cut_normals import cut_normal_posterior

pytestmark = pytest.mark.filterwarnings("ignore::emdsl.runtime.data.faults.ConvergenceWarning")

SIGN = """
model M
param m : real
for n in N:
    latent   u[n] ~ Normal(m, 1)
    observed k[n] ~ {seen}
    observed x[n] ~ Normal(u[n], 2)
"""


@pytest.mark.parametrize(
    ("mean", "sd", "low", "high"),
    [
        (0, 1, 8, np.inf),
        (0, 1, -np.inf, -35.0),
        (5, 2, -3, -2.5),
        (0, 1, -1, 1),
        (1e3, 1e-2, 1e3, np.inf),
        (0, 1, -np.inf, np.inf),
    ],
)
def test_moments(mean: float, sd: float, low: float, high: float) -> None:
    known = stats.truncnorm((low - mean) / sd, (high - mean) / sd, mean, sd)
    natural = (np.array([mean / sd**2]), np.array([-0.5 / sd**2]))
    total, moments = cut_normal_posterior(*natural, np.array([low]), np.array([high]))
    np.testing.assert_allclose(moments["id"], known.mean(), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(moments["square"], known.var() + known.mean() ** 2, rtol=1e-10)
    whole = 0.5 * (mean / sd) ** 2 + math.log(sd * math.sqrt(2 * math.pi))
    a, b = (low - mean) / sd, (high - mean) / sd
    mass = special.log_ndtr(-a) if high == np.inf else math.log(stats.norm.cdf(b) - stats.norm.cdf(a))
    np.testing.assert_allclose(total, whole + mass, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("seen", ["Delta(u[n] > 0)", "Delta(not (u[n] <= 0))", "Bernoulli(0 < u[n])"])
def test_signs_beside_measurements_with_gaps(seen: str) -> None:
    """Each row an integral over half the line, over the whole line where the sign was not seen."""
    model = emdsl.compile(text=SIGN.format(seen=seen))
    assert model.plan["u"].method == "exact:conjugate" and "cut" in model.plan["u"].reason
    x = np.array([0.3, -1.2, 2.0, 0.1, -0.4])
    k = np.array([1, 0, np.nan, 1, 0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = model.fitter(max_iter=0, init={"m": 0.4}).fit({"x": x, "k": k})
    total, means = 0.0, []
    for a, b in zip(x, k, strict=True):

        def f(t: float, power: int = 0, a: float = a) -> float:
            return float(t**power * stats.norm.pdf(t, 0.4) * stats.norm.pdf(a, t, 2))

        ends = (0 if b == 1 else -12, 0 if b == 0 else 12)
        mass, first = (integrate.quad(f, *ends, (p,), epsabs=0, epsrel=1e-11)[0] for p in (0, 1))
        total += math.log(mass)
        means.append(first / mass)
    assert abs(found.log_likelihood_ - total) < 1e-9
    np.testing.assert_allclose(found.posterior_["u"]["mean"], means, atol=1e-9)


def test_how_many_thresholds_are_passed() -> None:
    text = """
    model M
    param m : real
    param s : positive
    for n in N:
        latent u[n] ~ Normal(m, s)
        observed y[n] ~ Delta((u[n] > 1) + (u[n] > 0) + (u[n] > 2.5))
    """
    y, ends = np.array([0, 1, 2, 3, 2]), np.array([-np.inf, 0, 1, 2.5, np.inf])
    model = emdsl.compile(text=text)
    found = model.fitter().e_step({"m": 0.3, "s": 0.9}, {"y": y})["log_likelihood"]
    assert abs(found - np.log(np.diff(stats.norm.cdf(ends, 0.3, 0.9))[y]).sum()) < 1e-12


GIVEN = np.array([0, 1, 1, 0, 1])
SPELLED = [  # what is seen of u ~ N(0.4, 1) beside a given g of 0 or 1, and the mass of "seen is 1" where g is 0 and 1
    ("g[n] == 0 and u[n] <= 0", (-np.inf, 0), None),
    ("1 if g[n] == 0 and u[n] <= 0 else 0", (-np.inf, 0), None),
    ("0 if g[n] == 1 or u[n] > 0 else 1", (-np.inf, 0), None),
    ("(g[n] == 0) * (u[n] <= 0)", (-np.inf, 0), None),
    ("(1 - g[n]) * (u[n] <= 0)", (-np.inf, 0), None),
    ("not (g[n] == 1 or u[n] < 0 or u[n] > 1)", (0, 1), None),
    ("(u[n] > 0) == (g[n] == 1)", (-np.inf, 0), (0, np.inf)),
    ("(u[n] > 0) != (g[n] == 1)", (0, np.inf), (-np.inf, 0)),
    ("g[n] if u[n] < 0 else 1", (0, np.inf), (-np.inf, np.inf)),
    ("(u[n] > 0) - g[n] + g[n]", (0, np.inf), (0, np.inf)),
    ("1 - (u[n] < 0) - 0 * g[n]", (0, np.inf), (0, np.inf)),
]


@pytest.mark.parametrize(("seen", "plain", "marked"), SPELLED)
def test_conditions_on_a_latent_and_on_data(seen: str, plain: Any, marked: Any) -> None:
    """Products were summed over one side alone: an impossible row had the other side's mass."""
    text = "model M\nparam m : real\nfor n in N:\n    given g[n] : bool\n    latent u[n] ~ Normal(m, 1)\n"
    model = emdsl.compile(text=f"{text}    observed y[n] ~ Delta({seen})")
    assert model.plan["u"].method == "exact:conjugate"
    one = np.array([0.0 if r is None else np.diff(stats.norm.cdf(r, 0.4))[0] for r in (plain, marked)])[GIVEN]
    y = np.where(one == 0, 0, np.where(one == 1, 1, [0, 1, 0, 1, 1]))
    found = model.fitter(max_iter=0, init={"m": 0.4}).fit({"g": GIVEN, "y": y}).log_likelihood_
    assert abs(found - np.log(np.where(y == 1, one, 1 - one)).sum()) < 1e-12


def test_thresholds_passed_in_steps_of_another_size_beside_data() -> None:
    text = "model M\nparam m : real\nfor n in N:\n    given g[n] : count\n    latent u[n] ~ Normal(m, 1)\n"
    model = emdsl.compile(text=f"{text}    observed y[n] : count ~ Delta(g[n] + 2 * (u[n] > 0) - 2 * (u[n] < -1) + 2)")
    g, passed = np.array([0, 3, 1]), np.array([0, 1, 2])
    found = model.fitter(max_iter=0, init={"m": 0.4}).fit({"g": g, "y": g + 2 * passed}).log_likelihood_
    assert abs(found - np.log(np.diff(stats.norm.cdf([-np.inf, -1, 0, np.inf], 0.4))).sum()) < 1e-12


@pytest.mark.parametrize(
    ("seen", "other"),
    [("0 if u[n] < 0 else 1 if u[n] < 1 else 0", 0), ("0 if u[n] < 0 else 1 if u[n] < 1 else g[n]", 1)],
)
def test_what_two_intervals_lead_to_is_integrated_in_pieces(seen: str, other: int) -> None:
    text = "model M\nparam m : real\nfor n in N:\n    given g[n] : bool\n    latent u[n] ~ Normal(m, 1)\n"
    model = emdsl.compile(text=f"{text}    observed y[n] ~ Delta({seen})")
    fit = model.fitter(max_iter=0, init={"m": 0.4}).fit({"g": [other, other], "y": [0, 1]})
    mass = np.diff(stats.norm(0.4, 1).cdf([-np.inf, 0, 1, np.inf]))
    leads_to = np.array([0, 1, other])
    assert fit.log_likelihood_ == pytest.approx(sum(np.log(mass[leads_to == k].sum()) for k in (0, 1)), abs=1e-9)


HURDLES = (  # of Cragg (1971)
    "v[n] if u[n] > 0 and v[n] > 0 else 0",
    "v[n] * (u[n] > 0) * (v[n] > 0)",
    "max(v[n], 0) * (u[n] > 0)",
    "max(v[n], 0) if u[n] > 0 else 0",
    "(v[n] if v[n] > 0 else 0) if not u[n] <= 0 else 0",
)


@pytest.mark.parametrize("seen", HURDLES)
def test_two_hurdles(seen: str) -> None:
    """v is a Normal in an interval given u, and the density jumps at 0 in u: two pieces. It was refused, or drawn."""
    text = "model H\nparam g : real\nparam b : real\nparam s : positive\nfor n in N:\n    latent u[n] ~ Normal(g, 1)\n"
    model = emdsl.compile(text=f"{text}    latent v[n] ~ Normal(b, s)\n    observed y[n] ~ Delta({seen})")
    y = np.array([0.0, 1.3, 0.0, 0.2])
    fit = model.fitter(max_iter=0, init={"g": 0.5, "b": 0.6, "s": 0.8}).fit({"y": y})
    over = stats.norm.cdf(0.5)
    seen_itself = np.log(over) + stats.norm(0.6, 0.8).logpdf(y)
    want = np.where(y > 0, seen_itself, np.log1p(-over * stats.norm.cdf(0.6 / 0.8)))
    assert fit.log_likelihood_ == pytest.approx(want.sum(), abs=1e-7)


def test_a_probit_with_a_random_effect() -> None:
    """u is exact given b, and b by quadrature of what u leaves."""
    text = """
    model M
    param beta : real
    param tau : positive
    for g in G:
        latent b[g] ~ Normal(0, tau)
        for j in J:
            latent u[g, j] ~ Normal(beta + b[g], 1)
            observed y[g, j] ~ Delta(u[g, j] > 0)
    """
    model = emdsl.compile(text=text)
    assert (model.plan["u"].method, model.plan["b"].method) == ("exact:hybrid", "quadrature")
    y = np.array([[0, 1, 1], [1, 1, 1], [0, 0, 1], [0, 0, 0]])
    found = model.fitter().e_step({"beta": 0.3, "tau": 0.9}, {"y": y})["log_likelihood"]

    def f(t: float, row: Any) -> float:
        return float(stats.norm.pdf(t, 0, 0.9) * np.prod(special.ndtr((2 * row - 1) * (0.3 + t))))

    wanted = sum(math.log(integrate.quad(f, -9, 9, (row,), epsabs=0, epsrel=1e-11)[0]) for row in y)
    assert abs(found - wanted) < 1e-7


def test_a_threshold_that_is_a_parameter_is_refused() -> None:
    text = SIGN.format(seen="Delta(u[n] > m)")
    refusal = emdsl.compile(text=text).refusal
    assert refusal is not None and "the parameter m decides where u is cut" in str(refusal)


@pytest.mark.parametrize(
    "seen", ["lo[n] < u[n] < hi[n]", "abs(u[n]) < hi[n]", "1 - 2*u[n] < lo[n]", "abs(0.4 - 2*u[n]) < hi[n]"]
)
def test_inside_or_outside_of_an_interval(seen: str) -> None:
    """A 0 leaves both sides of an interval: was left to Monte Carlo, as were `-u` and `abs(u)`."""
    text = SIGN.replace("{seen}", f"Delta({seen})").replace(
        "n in N:", "n in N:\n    given lo[n] : real\n    given hi[n] : real"
    )
    lo, hi, k = np.array([-1.0, 0.5, -3.0, 0.2]), np.array([0.5, 2.0, 4.0, 0.3]), np.array([1, 0, 0, 1])
    ends = {"l": (lo, hi), "a": (-hi, hi), "1": ((1 - lo) / 2, np.full(4, np.inf)), "(": (0.2 - hi / 2, 0.2 + hi / 2)}[
        "(" if "0.4" in seen else seen[0]
    ]
    x = np.array([0.3, -2.0, 1.0, 0.1])
    fit = emdsl.compile(text=text).fitter(init={"m": 0.7}, max_iter=0).fit({"lo": lo, "hi": hi, "k": k, "x": x})
    mean, sd = 0.7 + (x - 0.7) / 5, math.sqrt(0.8)  # given x alone
    inside = stats.norm.cdf(ends[1], mean, sd) - stats.norm.cdf(ends[0], mean, sd)
    mass = np.where(k == 1, inside, 1 - inside)
    assert fit.log_likelihood_ == pytest.approx(
        (np.log(mass) + stats.norm.logpdf(x, 0.7, math.sqrt(5))).sum(), rel=1e-12
    )
    between = stats.truncnorm((ends[0] - mean) / sd, (ends[1] - mean) / sd, mean, sd)
    whole = (mean, mean**2 + sd**2)
    first, second = (
        np.where(k == 1, part, (total - inside * part) / (1 - inside))
        for total, part in zip(whole, (between.mean(), between.var() + between.mean() ** 2), strict=True)
    )
    np.testing.assert_allclose(fit.posterior_["u"]["mean"], first, rtol=1e-7)
    np.testing.assert_allclose(fit.posterior_["u"]["var"], second - first**2, rtol=1e-7)


BOUNDED: list[Any] = [  # latent, seen, its frozen density, where it lies, the density of what is seen
    ("u[n] : real(min = -0.5, max = 1.2) ~ Normal(0.2, t)", "Normal(u[n], 0.5)", stats.norm(0.2, 0.7), (-0.5, 1.2), 3),
    ("u[n] ~ Uniform(-1, 2)", "Normal(u[n], t)", stats.uniform(-1, 3), (-1, 2), 3),
    ("u[n] : positive(max = 1.5) ~ Gamma(t, 2)", "Poisson(3 * u[n])", stats.gamma(0.7, 0, 0.5), (0, 1.5), 0),
    ("u[n] : positive ~ Normal(t, 2)", "Normal(u[n], 0.5)", stats.norm(0.7, 2), (0, np.inf), -2),
]


@pytest.mark.parametrize(("latent", "seen", "prior", "ends", "far"), BOUNDED)
def test_a_latent_lies_between_its_bounds(latent: str, seen: str, prior: Any, ends: Any, far: float) -> None:
    """Its posterior ends where it does, and its density is that of the family between the bounds: both were left out,
    without a word, where the family is conjugate (a Uniform was a flat line)."""
    model = emdsl.compile(
        text=f"model M\nparam t : positive\nfor n in N:\n    latent {latent}\n    observed y[n] ~ {seen}\n"
    )
    y = np.array([0.0, 1.0, far])
    found = model.fitter().e_step({"t": 0.7}, {"y": y})["log_likelihood"]
    spread = 0.7 if "t)" in seen else 0.5
    mass = prior.cdf(ends[1]) - prior.cdf(ends[0])

    def joint(u: float, k: float) -> float:
        p = stats.poisson.pmf(k, 3 * u) if "Poisson" in seen else stats.norm.pdf(k, u, spread)
        return float(prior.pdf(u) / mass * p)

    wanted = sum(math.log(integrate.quad(joint, *ends, (k,), epsabs=0)[0]) for k in y)
    assert found == pytest.approx(wanted, abs=2e-5)


@pytest.mark.parametrize("latent", ["Uniform(0, s)", "Uniform(0, 1) if n == 0 else Normal(0, 1)"])
def test_bounds_that_are_not_known_are_refused(latent: str) -> None:
    text = f"model M\nparam s : positive\nfor n in N:\n    latent u[n] ~ {latent}\n"
    for infer in ("", "infer u by saem(kernel = slice)\n"):
        refusal = emdsl.compile(text=f"{text}    observed y[n] ~ Normal(u[n], s)\n{infer}").refusal
        assert refusal is not None and any(said in str(refusal) for said in ("has ends that", "the support", "branch"))


@pytest.mark.parametrize("signs", ["for j in 2: observed y[n, j] ~ Delta(u[n, j] > 0)",
                                   "observed first[n] ~ Delta(u[n, 0] > 0)"])  # fmt: skip
def test_vectors_seen_by_signs_of_their_elements(signs: str) -> None:
    """Two elements of one Normal, each cut by itself: probabilities of quadrants, of half-planes where one is seen."""
    text = f"""model Signs
param b : real[2]
param R : correlation[2]
for n in N:
    given x[n] : real
    latent u[n] : real[2] ~ MvNormal(b * x[n], R)
    {signs}
    observed w[n] ~ Normal(u[n, 0] * u[n, 1], 2)
"""
    rng = np.random.default_rng(5)
    x, y, w = rng.normal(size=6), rng.integers(2, size=(6, 2)), rng.normal(size=6)
    start = {"b": np.array([0.5, -1.0]), "R": np.array([[1.0, 0.6], [0.6, 1.0]])}
    data = {"x": x, "w": w} | ({"y": y} if "y[n" in signs else {"first": y[:, 0]})
    est = emdsl.compile(text=text, infer={"u": "quadrature(points = 30)"}).fitter(init=start, max_iter=0).fit(data)
    nodes, weights = np.polynomial.legendre.leggauss(400)
    wanted = 0.0
    for n in range(6):
        ends = (
            [(0.0, 9.0) if s else (-9.0, 0.0) for s in y[n]]
            if "y" in data
            else [(0.0, 9.0) if y[n, 0] else (-9.0, 0.0), (-9.0, 9.0)]
        )
        u, v = ((b - a) / 2 * nodes + (a + b) / 2 for a, b in ends)
        area = np.outer(*((b - a) / 2 * weights for a, b in ends))
        at = np.stack(np.meshgrid(u, v, indexing="ij"), -1)
        density = stats.multivariate_normal.pdf(at, start["b"] * x[n], start["R"])
        wanted += np.log((area * density * stats.norm.pdf(w[n], at[..., 0] * at[..., 1], 2)).sum())
    assert est.log_likelihood_ == pytest.approx(wanted, abs=2e-5)


def test_vectors_of_more_signs_than_are_written_as_elements_are_drawn_inside() -> None:
    """Four elements: every draw has the signs that were seen, from the first on."""
    text = """model Signs
param b : real[4]
for n in N:
    latent u[n] : real[4] ~ MvNormal(b, [[1, 0.5, 0.2, 0], [0.5, 1, 0, 0], [0.2, 0, 1, 0], [0, 0, 0, 1]])
    for j in 4: observed y[n, j] ~ Delta(u[n, j] > 0)
"""
    rng = np.random.default_rng(1)
    y = rng.integers(2, size=(12, 4))
    model = emdsl.compile(text=text)
    assert model.plan["u"].method == "saem:slice"
    fitter = model.fitter()
    prepared = fitter._prepare(fitter._bind({"y": y}))
    chain = Chain(fitter._module, prepared, fitter._module.first_draws(prepared, rng), rng)
    for _ in range(3):
        assert ((chain.draws["u"].T > 0) == y).all()
        chain.sweep({"b": np.array([0.3, 0.0, -2.0, 0.5])})


def test_an_interval_whose_end_is_a_latent() -> None:
    """Which of two latents is above: one is integrated out by its tail, a function of the other."""
    text = "model M\nparam m : real\nfor n in N:\n    latent a[n] ~ Normal(m, 1)\n    latent b[n] ~ Normal(0, 1)\n"
    larger = emdsl.compile(text=f"{text}    observed y[n] ~ Delta(a[n] > b[n])\n")
    assert [larger.plan[n].method for n in "ab"] == ["exact:tail", "quadrature"]
    fit = larger.fitter(max_iter=0, init={"m": 0.7}).fit({"y": np.array([1, 1, 0])})
    chances = special.log_ndtr(np.array([0.7, 0.7, -0.7]) / np.sqrt(2))
    assert fit.log_likelihood_ == pytest.approx(chances.sum(), abs=1e-7)


@pytest.mark.parametrize("seed", [0, 1, 3])
def test_a_cut_normal_about_a_laplace_effect(seed: int) -> None:
    """Found by chance: far from the bound its density is what rounding leaves, up to 3e292, and a mode was seen there:
    a log-likelihood that was 10 off, or no start."""
    text = """
        model M
        param m : real
        param p : positive
        param v : positive
        for n in N:
            latent u[n] ~ Laplace(0, p)
            observed y[n] : real(min = -2) ~ Normal(m + u[n], var = v)
    """
    rng = np.random.default_rng(seed)
    y = -1 + rng.laplace(0, 2.5, 30) + rng.normal(0, 0.8, 30)
    y = np.where(y < -2, -2 + rng.exponential(0.2, 30), y)
    fit = emdsl.compile(text=text).fitter(seed=0, max_iter=2).fit({"y": y})
    m, p, sd = fit.params_["m"], fit.params_["p"], np.sqrt(fit.params_["v"])

    def density(u: float, value: float) -> float:
        cut = stats.norm.logpdf(value, m + u, sd) - special.log_ndtr((m + u + 2) / sd)
        return float(stats.laplace.pdf(u, 0, p) * np.exp(cut))

    def row(value: float) -> float:
        ends = sorted({-80 * p, -20.0, -5.0, 0.0, max(value - m, 1.0), 60.0})
        return sum(integrate.quad(density, *e, (value,), epsabs=0, epsrel=1e-9, limit=300)[0] for e in pairwise(ends))

    assert fit.history_[-1] == pytest.approx(sum(np.log(row(v)) for v in y), abs=1e-6)


@pytest.mark.parametrize(("longer", "spread"), [((0, 0), 1.4), ((0, 1), 1.4), ((1, 1), 0.7), ((1, 0), 4.0)])
def test_far_out_what_a_cut_normal_leaves_is_no_rounding(longer: tuple[int, int], spread: float) -> None:
    """A log-normal effect has points at 1e13, where squares that cancel leave 1e10: the log-likelihood was 2e12, or at
    a spread of 4 off by 5e-5. What is cut is its own density, so that there are no squares that cancel."""
    text = """
        model Longer
        param s : positive
        param m : real
        param p : positive
        for g in G:
            latent b[g] ~ LogNormal(0, s)
        for n in N:
            given of[n] : index[G]
            latent time[n] ~ Normal(m - b[of[n]], p)
            given stop[n] : positive
            observed long[n] ~ Delta(time[n] > stop[n])
    """
    stop, m, p = np.array([1.2, 2.0]), -0.9, 1.1

    def density(u: float) -> float:
        far = (m - np.exp(u) - stop) / p
        return float(stats.norm.pdf(u, 0, spread) * stats.norm.cdf(np.where(longer, far, -far)).prod())

    wanted = np.log(sum(integrate.quad(density, *e, epsabs=1e-14)[0] for e in ((-12 * spread, 0), (0, 12 * spread))))
    data = {"of": [0, 0], "stop": stop, "long": list(longer)}
    fit = emdsl.compile(text=text).fitter(max_iter=0).fit(data, init={"s": spread, "m": m, "p": p})
    assert fit.log_likelihood_ == pytest.approx(wanted, abs=1e-8)
