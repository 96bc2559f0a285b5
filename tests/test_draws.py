"""Draws: kernels and conditionals leave the joint as it is, stated errors cover exact answers, seeds repeat a fit.

Geweke's test (2004): latents and data from the joint, then sweeps of the sampler. If each conditional is right the
new latents and the same data are from the joint again. Plates are the repetitions; each is compared with itself before.
"""

from __future__ import annotations

import inspect
import warnings
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from gallery import compiled as gallery_model
from gallery import table
from scipy import optimize, special, stats

import emdsl
from emdsl.errors import ModelError
from emdsl.runtime.discrete.networks import Network, network_posterior
from emdsl.runtime.montecarlo import drawing, kernels, sampler
from emdsl.runtime.montecarlo.accuracy import verdict_of_draws
from emdsl.runtime.montecarlo.drawing import draw_network
from emdsl.runtime.montecarlo.kernels import (
    counts_kernel,
    hmc_kernel,
    metropolis_kernel,
    modes_kernel,
    new_tuner,
    roaming_hmc_kernel,
    roaming_metropolis_kernel,
    slice_kernel,
    stop_tuning,
)
from emdsl.runtime.montecarlo.mixing import effective_size, split_rhat
from emdsl.runtime.montecarlo.montecarlo import closed_m_step
from emdsl.runtime.montecarlo.newton import Batch, stepped, told_by
from emdsl.runtime.montecarlo.sampler import Chain, Coordinates, Group, Target

KERNELS = {"slice": slice_kernel, "modes": modes_kernel, "hmc": hmc_kernel, "metropolis": metropolis_kernel}
ROAMING = {"roaming hmc": roaming_hmc_kernel, "roaming metropolis": roaming_metropolis_kernel}
LONG = {"slice": 0.5, "modes": 0.5, "hmc": 1.0, "metropolis": 0.5, "roaming hmc": 1.0}  # leapfrog steps
FALSE_ALARM = 4.5  # standard errors


def left_as_it_is(kernel: Any, long: float) -> tuple[float, Any, Any]:
    """exp(a), exp(b) ~ Exponential(1), y | a, b ~ Poisson(exp(a + b)), 5000 elements side by side; steps so long that
    much is refused, as what is accepted anyway would hide a wrong rule. y ties the coordinates: each was tried alone
    before, and what the second of a sweep is compared with could be that of before the first moved. How likely it is
    that they are of their distribution still."""
    rng = np.random.default_rng(5)
    x = np.log(rng.exponential(size=(2, 5000)))
    tuner = new_tuner(x)
    for k in range(24):
        y = rng.poisson(np.exp(x.sum(0)))
        if k == 4:
            stop_tuning(tuner)  # tuning looks at the chain; what it finds is fixed from here on
            tuner.step, tuner.scale = long + 0 * tuner.step, 1 + 0 * tuner.scale
            x = np.log(rng.exponential(size=x.shape))
            y = rng.poisson(np.exp(x.sum(0)))

        def density(p: Any, y: Any = y) -> Any:
            return (p - np.exp(p)).sum(0) + y * p.sum(0) - np.exp(p.sum(0))

        def slope(p: Any, y: Any = y) -> Any:
            return 1 - np.exp(p) + y - np.exp(p.sum(0))

        x = kernel(density, slope, x, tuner, rng)
    return min(float(stats.kstest(np.exp(each), "expon").pvalue) for each in x), tuner, x


@pytest.mark.parametrize("name", KERNELS | ROAMING)
def test_kernels_leave_a_joint_as_it_is(name: str) -> None:
    likely, tuner, x = left_as_it_is((KERNELS | ROAMING)[name], LONG.get(name, 0.5))
    assert likely > 1e-3
    assert 0.15 < tuner.accepted and (tuner.accepted < 0.9 or "s" in name) and len(np.unique(x)) == x.size


@pytest.mark.parametrize(
    ("name", "line", "wrong"),
    [
        ("slice", "points[i], here = new, value", "points[i] = new"),
        ("slice", "here - rng.exponential(size=b)", "here - 0.7 * rng.exponential(size=b)"),
        ("hmc", "f(new) - 0.5 * np.square(momentum).sum(0)", "f(new)"),
        ("hmc", "energy - before)", "f(new) - f(points))"),
        ("metropolis", "f(new) - f(points)", "0.7 * (f(new) - f(points))"),
    ],
)
def test_a_kernel_that_is_broken_is_found(name: str, line: str, wrong: str) -> None:
    """A density of before the first move, wrong levels, energies and ratios: the test of kernels can fail."""
    kernel = KERNELS[name]
    source = inspect.getsource(kernel)
    assert source.count(line) == 1
    names = dict(vars(kernels))
    exec(source.replace(line, wrong), names)  # noqa: S102
    assert left_as_it_is(names[kernel.__name__], LONG[name])[0] < 1e-3


def test_slices_of_whole_numbers_leave_a_joint_as_it_is() -> None:
    """k ~ Poisson(1.2), y | k ~ Poisson(sqrt(k)), 6000 elements side by side."""
    rng = np.random.default_rng(0)
    k = rng.poisson(1.2, size=(1, 6000)) + 0.0
    tuner = new_tuner(k)
    stop_tuning(tuner)
    for _ in range(12):
        y = rng.poisson(np.sqrt(k[0]))

        def density(p: Any, y: Any = y) -> Any:
            return stats.poisson.logpmf(p[0], 1.2) + stats.poisson.logpmf(y, np.sqrt(np.maximum(p[0], 0)))

        k = counts_kernel(density, None, k, tuner, rng)
    seen = np.bincount(np.minimum(k[0], 5).astype(int), minlength=6)
    assert (
        stats.chisquare(seen, 6000 * np.append(stats.poisson.pmf(range(5), 1.2), stats.poisson.sf(4, 1.2))).pvalue
        > 1e-3
    )


def test_steps_that_are_being_learnt_do_not_narrow_what_is_drawn() -> None:
    """Each element's step followed its own acceptance: a Normal lost a fifth of its variance in warm-up, and with it a
    logistic regression's spread of effects, 0.74, went to 0.05 and was told to be at its end."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 2000))
    tuner, seen = new_tuner(x), []
    for k in range(60):
        x = hmc_kernel(lambda p: -0.5 * np.square(p).sum(0), lambda p: -p, x, tuner, rng)
        if k == 20:  # the metric is known
            x = rng.normal(size=x.shape)
        if k > 30:
            seen.append(x.var())
    assert tuner.active and np.mean(seen) > 0.93


@pytest.mark.parametrize("kernel", [hmc_kernel, metropolis_kernel])
@pytest.mark.parametrize("spread", [0.05, 20.0])
def test_a_kernel_that_no_longer_fits_is_tuned_anew(kernel: Any, spread: float) -> None:
    """Steps of HMC stayed as long while a spread of effects fell: 1 in 100 was taken, and the spread fell to 0.04 from
    0.69; and as short while it rose."""
    group = Group("x", lambda p, _: (lambda v: -0.5 * (v["x"] / p) ** 2, lambda v: {"x": -v["x"] / p**2}), kernel,
                  (Coordinates("x", "real", (None, None), ()),))  # fmt: skip
    module = SimpleNamespace(groups=lambda: (group,))
    chain = Chain(module, {}, {"x": np.random.default_rng(0).normal(size=200)}, np.random.default_rng(1))
    chain.tune_anew(1.0)  # type: ignore[arg-type]
    first = chain.tuners
    for k in range(100):
        chain.keep_tuned(1.0 if k < 50 else spread)  # type: ignore[arg-type]
        chain.sweep(1.0 if k < 50 else spread)  # type: ignore[arg-type]
        assert k > 50 or chain.tuners is first
    assert chain.tuners is not first and 0.1 < chain.acceptance()["x"] < 0.96


@pytest.mark.parametrize("name", ["modes", *ROAMING])
def test_a_kernel_that_finds_other_modes(name: str) -> None:
    """Two modes 30 standard deviations apart, all elements but one in the lighter one: each is left in the long run.
    Brackets were eight scales wide, and effects of rows of two kinds 25 from their mass stayed."""
    rng = np.random.default_rng(2)

    def density(x: Any) -> Any:
        return np.logaddexp(np.log(0.2) - 0.5 * (x[0] / 0.2) ** 2, np.log(0.8) - 0.5 * ((x[0] - 6) / 0.2) ** 2)

    x = 0.2 * rng.normal(size=(1, 300))
    x[0, 0] = 6
    tuner = new_tuner(x)
    tuner.scale[:], tuner.step[:] = 0.6, 0.2

    def slope(x: Any) -> Any:
        return (density(x + 1e-5) - density(x - 1e-5))[None] / 2e-5

    for k in range(260):
        x = (KERNELS | ROAMING)[name](density, slope, x, tuner, rng)
        if not k:
            stop_tuning(tuner)
            tuner.scale[:], tuner.step[:] = 0.6, 0.2
    assert abs((x > 3).mean() - 0.8) < FALSE_ALARM * 0.023


PLATED = {  # text, sizes, parameters, statistics of latents and data
    "chains": ("""
model M
size K = 2
param first : simplex[K]
param trans[K] : simplex[K]
param rate[K] : positive
for s in S:
    for t in T:
        latent z[s, t] ~ Categorical(first) if t == 0 else Categorical(trans[z[s, t-1]])
        observed y[s, t] ~ Poisson(rate[z[s, t]])
infer z by saem
""", {"S": 1500, "T": 4}, {"first": [0.3, 0.7], "trans": [[0.8, 0.2], [0.4, 0.6]], "rate": [1.0, 3.0]},
        lambda d: [d["z"].mean(1), (d["z"][:, 1:] == d["z"][:, :-1]).mean(1), (d["z"] * d["y"]).mean(1)]),
    "chains of lag two": ("""
model M
size K = 2
param second[K] : simplex[K]
param trans[K, K] : simplex[K]
param rate[K] : positive
for s in S:
    for t in T:
        latent z[s, t] ~ Categorical([0.3, 0.7]) if t == 0 else (Categorical(second[z[s, t-1]]) if t == 1
            else Categorical(trans[z[s, t-2], z[s, t-1]]))
        observed y[s, t] ~ Poisson(rate[z[s, t]])
infer z by saem
""", {"S": 2500, "T": 4}, {"second": [[0.8, 0.2], [0.4, 0.6]], "rate": [1.0, 5.0],
                           "trans": [[[0.95, 0.05], [0.1, 0.9]], [[0.05, 0.95], [0.9, 0.1]]]},
        lambda d: [*(((d["z"][:, :3] @ [1, 2, 4] == c) + 0.0) * y for c in range(7) for y in (1, d["y"][:, 3])),
                   (d["z"][:, 1:] @ [1, 2, 4] == 5) + 0.0]),
    "fields": ("""
model M
param drift : positive
param noise : positive
for s in S:
    for t in T:
        latent h[s, t] ~ Normal(0, 1) if t == 0 else Normal(0.8 * h[s, t-1], drift)
        observed y[s, t] ~ Normal(h[s, t], noise)
infer h by mcmc
""", {"S": 4000, "T": 4}, {"drift": 0.5, "noise": 0.7},
        lambda d: [(d["h"] ** 2).mean(1), (d["h"][:, 1:] * d["h"][:, :-1]).mean(1), (d["h"] * d["y"]).mean(1)]),
    "pairs": ("""
model M
param a : positive
param s : positive
for g in G:
    latent u[g] ~ Gamma(a, 2)
    latent b[g] ~ Normal(0, s)
    latent e[g] ~ LogNormal(0, 0.7)
    latent v[g] ~ Beta(2, 3)
    observed y[g] ~ Poisson(u[g])
    observed w[g] ~ Poisson(exp(b[g]) * u[g] * e[g])
    observed t[g] ~ Binomial(4, v[g])
infer u, e by saem
infer b, v by saem(kernel = hmc)
""", {"G": 3000}, {"a": 2.0, "s": 0.6},
        lambda d: [d["u"], d["u"] * d["y"], d["b"], d["b"] ** 2, d["b"] * d["w"], d["u"] * d["w"],
                   d["e"], d["e"] ** 2, d["v"], d["v"] ** 2, d["v"] * d["t"],
                   d["b"] * np.log(d["u"]), d["b"] * np.log(d["e"]), np.log(d["u"]) * np.log(d["e"])]),
    "signs": ("""
model M
param r : unit
for i in I:
    latent u[i] : real[3] ~ MvNormal(zeros(3), [[1, r, r], [r, 1, r], [r, r, 1]])
    for j in 3:
        observed y[i, j] ~ Delta(u[i, j] > 0)
infer u by saem
""", {"I": 800}, {"r": 0.5},
        lambda d: [(d["u"] * d["y"]).mean(1), d["u"][:, 0] * d["u"][:, 1], d["u"][:, 2] ** 2, d["u"].mean(1)]),
    "nested": ("""
model M
param s : positive
for g in G:
    latent a[g] ~ Normal(0, s)
    for c in C:
        latent b[g, c] ~ Normal(0, 1)
        observed y[g, c] ~ Poisson(exp(a[g] + b[g, c]))
infer a by saem
infer b by saem(kernel = metropolis)
""", {"G": 900, "C": 2}, {"s": 0.5},
        lambda d: [d["a"] ** 2, d["b"][:, 0], d["b"][:, 1] ** 2, d["b"][:, 1] * d["y"][:, 1], d["a"] * d["y"][:, 0],
                   d["a"] * d["b"][:, 0]]),
    "classes summed out": ("""
model M
param q : unit
param m[2] : real
param s : positive
for g in G:
    latent z[g] ~ Bernoulli(q)
    latent b[g] ~ Normal(0, s)
for n in N:
    given group[n] : index[G]
    latent k[n] ~ Categorical([0.3, 0.7])
    observed y[n] ~ Poisson(exp(m[z[group[n]]] + b[group[n]] + [0, 1][k[n]]))
infer b by saem
""", {"G": 1200, "N": 2400}, {"q": 0.4, "m": [-0.5, 1.0], "s": 0.5},
        lambda d: [d["b"], d["b"] ** 2, d["b"] * d["y"][:1200], d["b"] ** 2 * d["y"][1200:]]),
    "limits of what is summed out": ("""
model M
param s : positive
for g in G:
    latent b[g] ~ Gamma(2, 1)
    latent k[g] ~ Poisson(2)
    latent e[g] ~ Normal(0, s)
    latent x[g] ~ Normal(1, s)
    observed y[g] ~ Delta(x[g] > b[g])
    observed w[g] ~ Normal(x[g], 1)
    observed v[g] ~ Delta(k[g] + e[g])
infer b, k by saem(kernel = slice)
""", {"G": 3000}, {"s": 0.7},
        lambda d: [d["b"], d["b"] * d["y"], d["b"] * d["w"], np.log(d["b"]), d["k"], d["k"] ** 2, d["k"] * d["v"]]),
    "beside tails": ("""
model M
param s : positive
for g in G:
    latent u[g] ~ Normal(0, s)
    latent t[g] ~ Weibull(1.5, exp(u[g]))
    latent e[g] ~ Laplace(u[g], 1)
    observed y[g] ~ Delta(min(t[g], 1))
    observed k[g] ~ Delta(e[g] > 0.5)
infer u by saem(kernel = hmc)
""", {"G": 3000}, {"s": 0.8}, lambda d: [d["u"], d["u"] ** 2, d["u"] * d["y"], d["u"] * d["k"]]),
    "logs": ("""
model M
param s : positive
for g in G:
    latent b[g] ~ LogNormal(0, s)
    observed x[g] ~ Normal(b[g], 1)
infer b by saem
""", {"G": 3000}, {"s": 0.7}, lambda d: [d["b"], d["b"] ** 2, d["b"] * d["x"]]),
    "bounded": ("""
model M
param s : positive
param w : real
for g in G:
    latent u[g] ~ Uniform(-1, 2)
    latent b[g] : positive ~ Normal(w, s)
    latent c[g] ~ Normal(b[g], 1)
    latent e[g] ~ Normal(0, 1)
    observed x[g] ~ Normal(u[g], s)
    observed y[g] ~ Delta(c[g] > 0.5)
    observed k[g] ~ Delta(-0.5 < e[g] < 0.8)
infer u, b, c, e by saem
""", {"G": 3000}, {"s": 0.7, "w": 0.3},
        lambda d: [d["u"], d["u"] ** 2, d["u"] * d["x"], d["b"], d["b"] ** 2, d["c"], d["c"] ** 2, d["b"] * d["c"],
                   d["c"] * d["y"], d["e"], d["e"] ** 2, d["e"] * d["k"]]),
    "drawn with their gates": ("""
model M
param s : positive
for g in G:
    latent k[g] ~ Bernoulli(0.4)
    for t in T:
        latent z[g, t] ~ Categorical([0.5, 0.5]) if t == 0 else Categorical(
            [[[0.9, 0.1], [0.2, 0.8]], [[0.3, 0.7], [0.6, 0.4]]][k[g]][z[g, t-1]])
        observed y[g, t] ~ Poisson([1, 4][z[g, t]])
    latent c[g] ~ Bernoulli(0.4)
    for t in T:
        latent h[g, t] ~ Bernoulli(0.5) if t == 0 else Bernoulli([[0.9, 0.1], [0.4, 0.7]][c[g]][h[g, t-1]])
        observed x[g, t] ~ Poisson([1, 4][h[g, t]])
    latent W[g] ~ Wishart(4, s * eye(2))
    latent m[g] ~ MvNormal(zeros(2), precision = 2 * W[g])
    observed v[g] ~ MvNormal(m[g], precision = W[g])
    latent u[g] ~ Gamma(3, s)
    latent e[g] ~ MvNormal(zeros(2), precision = u[g] * [[2, 1], [1, 2]])
    observed w[g] ~ MvNormal(e[g], eye(2) / u[g])
infer (k, z), c, h, (W, m), (u, e) by mcmc
""", {"G": 1200, "T": 3}, {"s": 0.5},
        lambda d: [d["k"], *d["z"].T, 1 * d["k"] * (d["z"][:, 0] == d["z"][:, 1]),
                   d["c"], *d["h"].T, 1 * d["c"] * (d["h"][:, 0] == d["h"][:, 1]), np.log(np.linalg.det(d["W"])),
                   d["W"][:, 0, 1] * d["m"][:, 0] * d["m"][:, 1], d["m"][:, 0] * d["v"][:, 0], np.log(d["u"]),
                   d["e"][:, 0] * d["e"][:, 1] * d["u"], d["e"][:, 1] * d["w"][:, 1], d["e"][:, 0] ** 2 * d["u"]]),
    "matrices": ("""
model M
param s : positive
for g in G:
    latent V[g] ~ Wishart(5, s * eye(2))
    latent W[g] ~ Wishart(6, V[g])
    for k in 2: latent p[g, k] ~ Dirichlet([2, 1])
    observed y[g] ~ MvStudentT(5, [p[g, 0, 0], p[g, 1, 0]], W[g])
infer V by mcmc(kernel = hmc)
infer W by mcmc(kernel = metropolis)
infer p by mcmc(kernel = slice)
""", {"G": 600}, {"s": 0.4},
        lambda d: [np.log(np.linalg.det(d["V"])), np.log(np.linalg.det(d["W"])), d["V"][:, 0, 1], d["W"][:, 0, 1],
                   np.log(d["V"][:, 0, 0]), np.log(d["W"][:, 1, 1]), d["V"][:, 0, 1] * d["W"][:, 0, 1],
                   d["p"][:, 0, 0], d["p"][:, 0, 0] * d["p"][:, 1, 0], d["p"][:, 1, 0] * np.tanh(d["y"][:, 1])]),
    "families": ("""
model M
param s : positive
for g in G:
    latent a[g] ~ Laplace(0, s)
    latent b[g] ~ StudentT(5, 0, s)
    latent c[g] ~ InverseGamma(5, s)
    latent d[g] ~ Weibull(2, s)
    latent e[g] ~ InverseGaussian(1, 3 * s)
    latent f[g] ~ VonMises(0.5, s)
    latent h[g] ~ Exponential(s)
    observed y[g] ~ Poisson(exp(tanh(a[g]) + tanh(d[g]) - tanh(h[g])))
    observed w[g] ~ Normal(tanh(b[g]) + tanh(c[g]) + tanh(e[g]) + cos(f[g]), 1)
infer a, b, c by saem(kernel = metropolis)
infer d, e, f, h by saem(kernel = slice)
""", {"G": 2000}, {"s": 1.0},
        lambda d: [v for n in "abcdefh" for v in (np.tanh(d[n]), np.tanh(d[n]) ** 2, np.tanh(d[n]) * d["w"],
                                                  np.tanh(d[n]) * np.log1p(d["y"]))]),
    "counts without an end": ("""
model M
param s : positive
for g in G:
    latent k[g] ~ NegativeBinomial(3, mean = 2)
    observed y[g] ~ Normal(k[g], s)
    latent c[g] ~ Geometric(0.4)
    latent d[g] ~ Binomial(c[g] + 2, 0.3)
    observed x[g] ~ Poisson(exp(0.4 * c[g] + 0.2 * d[g]))
infer k, c, d by saem(kernel = slice)
""", {"G": 3000}, {"s": 1.0},
        lambda d: [d["k"], d["k"] ** 2, d["k"] * d["y"], d["k"] == 0, d["c"], d["c"] == 0, d["c"] * np.log1p(d["x"]),
                   d["d"], d["c"] * d["d"], d["d"] == 2]),
    "shares": ("""
model M
param a : positive[3]
for g in G:
    latent p[g] ~ Dirichlet(a)
    observed y[g] ~ Multinomial(p[g], trials = 5)
infer p by saem(kernel = hmc)
""", {"G": 2000}, {"a": [1.0, 2.0, 0.7]},
        lambda d: [d["p"][:, 0], d["p"][:, 1] ** 2, (d["p"] * d["y"]).sum(1)]),
}  # fmt: skip


@cache
def compiled(text: str, by: str = "") -> Any:
    model = emdsl.compile(text=text, infer={"b": by} if by else None)
    assert model.refusal is None, model.refusal
    return model


def chain_of(model: Any, drawn: dict[str, Any], params: dict[str, Any], sizes: dict[str, int], seed: int) -> Chain:
    """A chain at the latents that were drawn with the data."""
    fitter = model.fitter(**{n: v for n, v in sizes.items() if n in model.sizes})
    data = {n: drawn[n] for n in (*model.observed, *model.givens)}
    prepared = fitter._prepare(fitter._bind(data))
    orders = {v["name"]: len(v["plates"]) for v in model.module.SPEC["variables"]}
    stored = {}
    for n in model.latents:
        value, plates = np.asarray(drawn[n]), orders[n]
        own = tuple(range(plates, value.ndim))
        stored[n] = np.ascontiguousarray(np.transpose(value, (*own, *range(1, plates), 0)))
    return Chain(model.module, prepared, stored, np.random.default_rng(seed))


def plates_first(model: Any, draws: dict[str, Any]) -> dict[str, Any]:
    plates = {v["name"]: len(v["plates"]) for v in model.module.SPEC["variables"]}
    return {
        n: np.transpose(v, (v.ndim - 1, *range(v.ndim - plates[n], v.ndim - 1), *range(v.ndim - plates[n])))
        for n, v in draws.items()
    }


def moved_by_sweeps(name: str) -> float:
    """How far statistics of latents and data are moved by sweeps that should leave them, in standard errors."""
    text, sizes, params, statistics = PLATED[name]
    model = compiled(text)
    values = {n: np.asarray(v, float) for n, v in params.items()}
    given = {"group": np.arange(sizes["N"]) % sizes["G"]} if "N" in sizes else None
    drawn = {**(given or {}), **model.sample(values, sizes, 1, given)}
    chain = chain_of(model, drawn, values, sizes, 3)
    for _ in range(6):
        chain.sweep(values)
    after = {**drawn, **plates_first(model, chain.draws)}
    moved = [a - 1.0 * b for a, b in zip(statistics(after), statistics(drawn), strict=True)]
    return max(float(abs(m.mean()) / max(m.std() / len(m) ** 0.5, 1e-300)) for m in moved)


@pytest.mark.parametrize("name", PLATED)
def test_a_sweep_leaves_the_joint_as_it_is(name: str) -> None:
    assert moved_by_sweeps(name) < FALSE_ALARM


def stale(was: Any) -> Any:
    """Densities given what the others were at first."""

    def target(self: Chain, group: Group, params: Any) -> Target:
        found: Target = was(self, group, params)
        first = vars(self).setdefault("first", dict(self.draws))
        found.log_density, found.slope = group.draw(params, {**self.prepared, **first})
        return found

    return target


@pytest.mark.parametrize(
    ("name", "of", "function", "wrong"),
    [
        ("logs", sampler, "stretch", lambda was: lambda v, *a: (np.ones_like(v), 0 * was(v, *a)[1])),
        ("shares", sampler, "log_volume", lambda was: lambda *a: 0 * was(*a)),
        ("chains", "module", "draw_chains", lambda was: lambda q, edge, to, *a: was(q, np.ones_like(edge), to, *a)),
        ("counts without an end", "module", "counts_kernel", lambda was: lambda f, *a: was(lambda x: 0.7 * f(x), *a)),
        ("pairs", Chain, "target", stale),
        ("pairs", "module", "draw_Gamma", lambda was: lambda *a: 0.9 * was(*a)),
    ],
    ids=[
        "no Jacobian",
        "no volume",
        "states apart",
        "another temperature",
        "others of before",
        "Gibbs by another rate",
    ],
)
def test_a_sweep_that_is_broken_is_found(
    name: str, of: Any, function: str, wrong: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = compiled(PLATED[name][0]).module if of == "module" else of
    monkeypatch.setattr(holder, function, wrong(getattr(holder, function)))
    assert moved_by_sweeps(name) > FALSE_ALARM


STRUCTURED: dict[str, Any] = {  # shape, axes of one element, bounds
    "ordered": ((3, 5), (0,), (None, None)),
    "spd": ((2, 2, 3, 4), (0, 1, 2), (None, None)),
    "simplex": ((3, 2, 4), (0, 1), (None, None)),
    "positive": ((2, 5), (0,), (None, None)),
    "unit": ((2, 5), (0,), (None, None)),
    "real": ((2, 5), (0,), (-1.0, 2.0)),
    "real above": ((2, 5), (0,), (-1.0, None)),
}


@pytest.mark.parametrize("domain", STRUCTURED)
def test_free_coordinates_of_numbers_that_hold_one_another(domain: str) -> None:
    """The gradient in them, and their volume, by differences; several matrices, or simplexes, in one element. Of one
    number with ends a gradient without its volume's left draws right, and much more refused."""
    (shape, events, bounds), rng = STRUCTURED[domain], np.random.default_rng(4)
    domain = domain.split()[0]
    values = np.sort(rng.normal(size=shape), axis=0)
    if domain in ("positive", "unit", "real"):
        values = rng.uniform(0.1, 0.9, size=shape)
    if domain == "simplex":
        values = np.exp(values) / np.exp(values).sum(0)
    if domain == "spd":
        root = rng.normal(size=(*shape[2:], 2, 4))
        values = np.moveaxis(root @ np.swapaxes(root, -1, -2), (-2, -1), (0, 1))
    group = Group("c", lambda: None, hmc_kernel, (Coordinates("c", domain, bounds, events),))
    target, weights = Target(group, {"c": values}), rng.normal(size=shape)
    weights = weights + weights.swapaxes(0, 1) if domain == "spd" else weights
    points = target.points({"c": values})
    np.testing.assert_allclose(target.values(points)["c"], values)
    target.log_density = lambda v: (weights * v["c"] + np.sin(v["c"])).sum(events)
    target.slope = lambda v: {"c": weights + np.cos(v["c"])}
    own, steps = np.tril_indices(2) if domain == "spd" else (slice(0, -1 if domain == "simplex" else None),), []
    for k in range(len(points)):
        step = 1e-6 * np.eye(len(points))[:, [k]]
        ends = [(target.density(p), target.values(p)["c"][own].reshape(len(points), -1))
                for p in (points + step, points - step)]  # fmt: skip
        steps.append([(a - b) / 2e-6 for a, b in zip(*ends, strict=True)])
    np.testing.assert_allclose(target.gradient(points), [s[0] for s in steps], rtol=1e-6, atol=1e-6)
    target.slope = None  # where something is summed out
    np.testing.assert_allclose(target.gradient(points), [s[0] for s in steps], rtol=1e-6, atol=1e-5)
    target.log_density = lambda v: 0 * v["c"].sum(events)
    volume = np.linalg.slogdet(np.stack([s[1] for s in steps], 1).T)[1]
    np.testing.assert_allclose(target.density(points), volume, atol=1e-6 + 10 * (domain == "spd"))
    assert np.ptp(target.density(points) - volume) < 1e-6


SLOPED = """
model M
param a : real
param w : real
param effect[K] : real ~ Normal(0, 2)
param s : positive
param p : simplex[3]
param m : ordered[2]
param S : spd[2]
for g in G:
    latent b[g] ~ MvNormal(m, S)
    latent z[g] ~ Categorical(p)
    latent u[g] ~ Uniform(-1, 2)
for n in N:
    given group[n] : index[G]
    given k[n] : index[K]
    given x[n] : real
    observed y[n] ~ Normal(a + w * x[n] + exp(b[group[n]][0]) + [0, 1, 2][z[group[n]]] * u[group[n]], s)
    observed c[n] ~ Poisson(exp(effect[k[n]] + b[group[n]][1]))
infer b, z, u by saem
"""


def last_sample(text: str, data: dict[str, Any], values: dict[str, Any]) -> Any:
    """A sample of few draws."""
    model = compiled(text)
    fitter, rng, module = model.fitter(seed=0), np.random.default_rng(2), model.module
    setup = fitter._setup(fitter._bind(data))
    (chain,) = module.new_chains(setup, rng, 1)
    params = {n: np.asarray(v, float) for n, v in values.items()}
    module._start([chain], params, 5)
    module.PILOT, module.LAST_SWEEPS, module.BATCHES = 24, 8, 8
    sample = module.LastSample(setup, params, [chain], most=0)
    chain.sweep(params)
    return sample, chain.draws


@pytest.mark.parametrize("name", ["parts", "one part"])
def test_printed_slopes_are_those_of_the_density(name: str) -> None:
    """Scores of draws that move with the parameters, by printed slopes and by differences of the density alone; of more
    parameters than differences were affordable for."""
    rng, n = np.random.default_rng(1), np.arange(130)
    data = {"group": n % 10, "k": n % 65, "x": 100 + rng.normal(size=130), "y": rng.normal(52, 2, 130)}
    text, values = SLOPED, {"a": 1.0, "w": 0.5, "effect": rng.normal(size=65), "s": 2.0, "p": [0.2, 0.5, 0.3]}
    values |= {"m": [-0.5, 0.5], "S": [[0.3, 0.1], [0.1, 0.2]]}
    if name == "one part":
        text = "model M\nparam phi : real(min = -1, max = 1)\nparam s : positive\nparam c : real\nfor t in T:\n"
        text += "    latent h[t] ~ Normal(0, s / sqrt(1 - phi^2)) if t == 0 else Normal(phi * h[t-1], s)\n"
        text += "    observed y[t] ~ Poisson(exp(c + h[t]))\ninfer h by saem\n"
        data, values = {"y": rng.poisson(2, 20)}, {"phi": 0.4, "s": 0.5, "c": 0.6}
    sample, draws = last_sample(text, {"c": rng.poisson(2, 130), **data} if "k" in data else data, values)
    slopes, beside = sample.slopes, sample.flat + 0.01 * rng.normal(size=len(sample.flat))
    assert sample.scored and sample.carried.together == (name == "one part")
    found = [sample._apart_scores(draws), sample._whole_score(draws, sample.flat), sample._whole_score(draws, beside)]
    sample.slopes = None
    by_steps = []
    for h in (1e-4, 2e-4):
        sample.steps = np.full(len(sample.flat), h)
        by_steps.append(
            [sample._apart_scores(draws), sample._whole_score(draws, sample.flat), sample._whole_score(draws, beside)]
        )
    sample.slopes = slopes
    for mine, once, twice in zip(found, *by_steps, strict=True):
        np.testing.assert_allclose(mine, (4 * once - twice) / 3, rtol=1e-6, atol=1e-6 * np.abs(once).max())


def test_counts_start_where_they_have_a_density() -> None:
    """k that is less than what is seen of it has none: draws walked about at random, and the share seen went to 1."""
    text = "model M\nparam rate : positive\nparam q : unit\nfor n in N:\n    latent k[n] ~ Poisson(rate)\n"
    model = compiled(text + "    for r in R: observed y[n, r] ~ Binomial(k[n], q)\ninfer k by mcmc\n")
    y = np.array([[0, 3], [5, 5], [2, 9], [40, 60]])
    fitter = model.fitter(seed=0)
    setup = fitter._setup(fitter._bind({"y": y}))
    (chain,) = model.module.new_chains(setup, np.random.default_rng(1), 1)
    chain.settle({"rate": np.array(4.0), "q": np.array(0.5)})
    assert (chain.draws["k"] >= y.max(1)).all()
    step = model.module._ascent(setup, [chain], {"rate": np.array(4.0), "q": np.array(1.0)}, 4, 0)
    assert step.params["q"] < 1 and step.lower > 0 and step.next_size == 4  # a gain of nan grew the sample to its end


def test_a_parameter_that_no_latent_touches() -> None:
    """Its score is the same at every draw: a ZeroDivisionError at the end of the fit."""
    text = "model M\nparam s : positive\nparam c : real\nfor g in G:\n    latent b[g] ~ Normal(0, s)\n"
    text += "    observed y[g] ~ Poisson(exp(b[g]))\n    observed w[g] ~ Normal(c, 1)\ninfer b by saem\n"
    sample, _ = last_sample(text, {"y": np.arange(8) % 3, "w": np.arange(8.0)}, {"s": 0.5, "c": 3.5})
    assert sample.found.effective > 0 and sample.found.inverse[1, 1] == pytest.approx(1 / 8)


@cache
def counts() -> dict[str, Any]:
    rng = np.random.default_rng(8)
    group = np.repeat(np.arange(40), 5)
    return {"group": group, "y": rng.poisson(np.exp(0.5 + rng.normal(0, 0.7, 40))[group])}


INTERCEPTS = """
model M
param mu : real
param tau : positive
for g in G:
    latent b[g] ~ Normal(mu, tau)
for n in N:
    given group[n] : index[G]
    observed y[n] ~ Poisson(log_rate = b[group[n]])
infer b by saem
"""


def test_poisson_random_effects_by_both_ways() -> None:
    """The gallery's model: SAEM is within its Monte Carlo error of the maximum that quadrature finds."""
    data = {"X": np.ones((200, 1)), **counts()}
    by_points = gallery_model("poisson_random_effects")
    best = by_points.fitter(seed=0, tol=1e-10).fit(data).params_
    model = compiled(by_points.text, "saem(warm = 20)")
    model.module.MOST_SWEEPS, model.module.PILOT = 400, 100
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = model.fitter(seed=3, max_iter=60).fit(data)
    errors = found.monte_carlo_["monte_carlo_errors"]
    for n in ("beta", "tau"):
        assert (np.abs(found.params_[n] - best[n]) < FALSE_ALARM * errors[n]).all()
        assert (errors[n] < 0.3 * found.monte_carlo_["standard_errors"][n]).all()


def test_classes_are_summed_out_of_the_draws() -> None:
    """A class for each group beside its drawn effect: Gibbs between them stood still, 2.5 times the effect's spread at
    the end. With the class summed out steps from the maximum, which a grid finds, are their errors long."""
    rng = np.random.default_rng(1000)
    high, b = rng.random(40) < 0.4, rng.normal(0, 0.4, 40)
    group = np.repeat(np.arange(40), 6)
    data = {"group": group, "y": rng.poisson(np.exp(0.2 + 1.6 * high + b)[group])}
    text = """
model M
param p : unit
param tau : positive
param m[2] : real
for g in G:
    latent z[g] ~ Bernoulli(p)
    latent b[g] ~ Normal(0, tau)
for n in N:
    given group[n] : index[G]
    observed y[n] ~ Poisson(exp(m[z[group[n]]] + b[group[n]]))
"""
    model = compiled(text, "saem(warm = 40)")
    assert model.plan["b"].method == "saem:slice" and not model.derived.draws.moved
    assert model.plan["z"].method == "exact:enumeration"
    y, grid = np.bincount(group, data["y"]), np.linspace(-4, 4, 161)

    def loss(t: Any) -> float:
        rate = np.exp(t[2:, None] + grid)
        each = y[:, None, None] * np.log(rate) - 6 * rate + stats.norm.logpdf(grid, 0, np.exp(t[1]))
        share = -np.logaddexp(0, [t[0], -t[0]])
        return -float(special.logsumexp(each + share[:, None], axis=(1, 2)).sum())

    t = optimize.minimize(loss, [-0.4, -0.9, 0.2, 1.8], tol=1e-8).x
    best = {"p": 1 / (1 + np.exp(-t[0])), "tau": np.exp(t[1]), "m": t[2:]}
    steps = samples_at(text + "infer b by saem\n", data, best, 3, 200)
    squares = sum(float(np.sum(found.step**2 / np.diag(found.noise))) for found in steps)
    assert all(found.effective > 60 and found.share < 0.5 for found in steps) and 0.05 < squares / 12 < 4.5


def test_six_numbers_of_one_part_move_together() -> None:
    """A level inside a level, six of one to one of the other: an array of another shape ended the fit."""
    model = compiled(PLATED["nested"][0])
    drawn = model.sample({"s": np.array(0.5)}, {"G": 5, "C": 6}, 1)
    fitter = model.fitter(seed=0)
    setup = fitter._setup(fitter._bind({"y": drawn["y"]}))
    (chain,) = model.module.new_chains(setup, np.random.default_rng(1), 1)
    carried, rng = model.module.Carried(setup, chain.draws, 5), np.random.default_rng(2)
    for _ in range(20):
        chain.sweep({"s": np.array(0.5)})
        carried.see(chain.draws, rng.normal(size=(1, 5)))
    assert carried.together
    carried.combine(rng.normal(size=(20, 1)), rng.normal(size=(20, carried.fields())))
    moved, stretched = carried.at(chain.draws, np.array([0.1]))
    assert {n: v.shape for n, v in moved.items()} == {"a": (5,), "b": (6, 5)} and stretched.shape == (5,)


def test_draws_that_data_cut_do_not_move() -> None:
    """Moved along with the parameters they crossed their limits, and probit fits 80% of a standard error unsure."""
    model = compiled(PLATED["bounded"][0])
    drawn = model.sample({"s": np.array(0.7), "w": np.array(0.3)}, {"G": 5}, 1)
    fitter = model.fitter(seed=0)
    setup = fitter._setup(fitter._bind({n: drawn[n] for n in model.observed}))
    (chain,) = model.module.new_chains(setup, np.random.default_rng(1), 1)
    assert set(model.module.Carried(setup, chain.draws, 5).domains) == {"u", "b"}


def test_what_is_exact_does_not_move() -> None:
    """Rows that Gibbs draws for the effects to move by, summed out of what errors are made of: they were carried along
    with the parameters, on other axes than the effects' (an array of another shape ended every such fit)."""
    text = "model M\nparam s : positive\nfor g in G:\n    latent b[g] ~ Normal(0, s)\n    for r in R:\n"
    text += "        latent x[g, r] ~ Normal(b[g], 1)\n        observed y[g, r] ~ Delta(min(x[g, r], 1))\n"
    model = compiled(text + "infer b by saem\n")
    assert model.plan["b"].method == "saem:gibbs" and model.derived.draws.moved == ("x",)
    fitter = model.fitter()
    setup = fitter._setup(fitter._bind({"y": np.array([[0.5, 1.0], [1.0, -0.3]])}))
    (chain,) = model.module.new_chains(setup, np.random.default_rng(1), 1)
    assert set(chain.draws) == {"b", "x"} and set(model.module.Carried(setup, chain.draws, 2).domains) == {"b"}


@pytest.mark.parametrize("kernel", ["slice", "metropolis", "hmc"])
def test_kernels_asked_for_move_what_is_summed_out(kernel: str) -> None:
    """HMC was left to Gibbs between classes and effects, which stood still: 22 stated errors off, "converged"."""
    model = compiled(PLATED["classes summed out"][0], f"saem(kernel = {kernel})")
    (group,) = model.module.groups()
    assert group.names == "b" and group.kernel.__name__ in ("modes_kernel", f"roaming_{kernel}_kernel")


@pytest.mark.parametrize(("method", "seed"), [("saem(kernel = metropolis)", 3), ("mcmc(kernel = hmc)", 1)])
def test_chains_that_stay_apart_have_not_converged(method: str, seed: int) -> None:
    """h ~ Normal(m, 3), seen by its square alone: 16 modes. One chain stayed at one, and four seeds "converged" to four
    values of m, 1e4 stated errors apart; from seed 3 a second chain of one start took the first one's mode."""
    model = emdsl.compile(text=f"{SIGNS}infer h by {method}\n")
    y = np.array([9.0, 8, 10, 9]) + 0.3 * np.random.default_rng(0).normal(size=(5, 4))
    with pytest.warns(Warning, match="the chains have not mixed"):
        fit = model.fitter(seed=seed, max_iter=300).fit({"y": y})
    assert not fit.converged_ and fit.monte_carlo_["rhat"]["h"] > 10


SIGNS = """
model Signs
param m : real
latent h : real[4] ~ MvNormal(m * ones(4), 9 * eye(4))
for n in N:
    for k in 4:
        observed y[n,k] ~ Normal(h[k]^2, 0.3)
"""


def optimum() -> np.ndarray[Any, Any]:
    """The maximum of the likelihood on a grid of b, and the inverse of its curvature: mu, log tau."""
    y, n = np.bincount(counts()["group"], counts()["y"]), 5
    grid = np.linspace(-6, 6, 2001)

    def loss(t: Any) -> float:
        log = y[:, None] * grid - n * np.exp(grid) - 0.5 * ((grid - t[0]) / np.exp(t[1])) ** 2 - t[1]
        return -float(special.logsumexp(log, axis=1).sum())

    found: np.ndarray[Any, Any] = optimize.minimize(loss, [0.3, -0.4], tol=1e-9).x
    return found


def steps_of_scores(score: Any, missing: float, logs: Any) -> Any:
    """A step from 40 batches of 10 independent scores of two coordinates whose complete information is 1 each."""
    rng, p = np.random.default_rng(3), 2
    batches = []
    for _ in range(40):
        s = np.sqrt(missing) * rng.normal(size=(p, 1, 10)) + np.asarray(score)[:, None, None]
        outer = sum(s[..., k] @ s[..., k].T for k in range(10))
        batches.append(Batch(10, s.sum(-1), outer, -np.eye(p), 1))
    return stepped([batches], np.zeros(p), np.arange(p), np.ones(p), np.asarray(logs))


def test_an_error_has_what_chains_are_apart() -> None:
    """Two chains at 1 and -1 are worth two draws, however many batches agree within each; by chance none is added."""
    rng = np.random.default_rng(0)
    each = [Batch(10, 0.1 * rng.normal(size=(1, 1)), np.eye(1), -np.eye(1), 1) for _ in range(40)]
    alike = stepped([each[:20], each[20:]], *(np.zeros(1), np.arange(1), np.ones(1), np.zeros(1, bool)))
    off = [b._replace(scores=b.scores + (5 if k < 20 else -5)) for k, b in enumerate(each)]
    apart = stepped([off[:20], off[20:]], *(np.zeros(1), np.arange(1), np.ones(1), np.zeros(1, bool)))
    one = stepped([each], np.zeros(1), np.arange(1), np.ones(1), np.zeros(1, bool))
    assert alike.effective == one.effective and apart.effective < 5 and not apart.trusted


def test_where_no_information_is_left_steps_go_uphill() -> None:
    """Counts of 80 groups of one or two rows: from where the log-likelihood is not concave no step was taken, and from
    beside, where it bends, the stated error was a quarter of the right one."""
    lost = steps_of_scores([0.3, -0.4], 1.3, [False, True])
    assert not lost.trusted and lost.uphill and lost.far
    assert (lost.step * [0.3, -0.4] >= 0).all() and 0.5 < np.abs(lost.step).max() < 8
    assert not steps_of_scores([0.0, 0.0], 1.3, [False, True]).far
    told = steps_of_scores([0.15, 0.0], 0.5, [False, True])
    plain = steps_of_scores([0.15, 0.0], 0.5, [False, False])
    assert told.trusted and told.bent > 5 * plain.bent and told.far and not plain.far
    assert told.after(0.04).bent >= told.bent and plain.after(0.01).error[0, 0] > 2 * plain.error[0, 0]
    wide = told._replace(step=np.array([0.0, -0.11]), noise=0.0013 * np.eye(2), inverse=2 * np.eye(2), length=0.007)
    assert wide.error[1, 1] > 0.1**2 and wide.error[0, 0] < 0.06**2


@pytest.mark.parametrize(("bend", "slope", "at_end"), [(0.0, 0.0, True), (-0.9, -0.08, False), (0.0, 0.05, False)])
def test_what_bends_upwards_is_not_at_an_end(bend: float, slope: float, at_end: bool) -> None:
    """A noise of 0.15, from where the log-likelihood rises to 0.76, was told to be at its end: a draw that moves with
    it had a negative information. The other coordinate is one that nothing ends."""
    rng = np.random.default_rng(1)
    about = np.array([slope, 0.3])
    noise = 1e-3 * rng.normal(size=(40, 2, 1))
    batches = [Batch(10, 10 * o, 10 * o @ o.T, -np.diag([bend, 1.0]), 1) for o in noise]
    whole, told = told_by(batches, about, np.array([200.0, 1.0]), np.array([True, False]))
    assert told.tolist() == [not at_end, True] and np.allclose(whole, [bend, 1.0])


@pytest.mark.parametrize("told_apart", [True, False])
def test_what_is_flat_is_looked_at_from_outside(told_apart: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Near 0 the likelihood of a spread is flat wherever its maximum is: a logistic regression whose spread of effects
    had come to 0.05 was told to be at its end, and the fit converged, of a maximum at 0.74. Where groups are more alike
    than by chance it is at its end."""
    text = INTERCEPTS.replace("Poisson(log_rate = b[group[n]])", "Bernoulli(logit = b[group[n]])")
    model = compiled(text.replace("Normal(mu, tau)", "Normal(0, tau)").replace("param mu : real\n", ""))
    fitter, module = model.fitter(), model.module
    ones = np.tile([2, 7, 3, 5, 6, 1], 5) if told_apart else np.full(30, 4)
    data = {"group": np.repeat(np.arange(30), 8), "y": (np.arange(8) < ones[:, None]).astype(int).ravel()}
    setup = fitter._setup(fitter._bind(data))
    chains = module.new_chains(setup, np.random.default_rng(1), 1)
    start = {"tau": np.array(0.05)}
    module.PILOT, module.LAST_SWEEPS, module.TUNED_ANEW = 50, 50, 20
    module._start(chains, start, 0)
    module._stop_tuning(chains)
    sample, here = module.LastSample(setup, start, chains, 0, 100), dict(chains[0].draws)
    ended = sample.found._replace(told=np.array([False]))
    looks = []

    class Seen(module.LastSample):  # type: ignore[misc, name-defined]
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            looks.append(self.draws)

    monkeypatch.setattr(module, "LastSample", Seen)
    away = module.LastSteps(start)._away_from_ends(setup, chains, sample, ended)
    assert (away is not None and away["tau"] > 0.1) if told_apart else away is None
    assert (chains[0].draws["b"] is here["b"]) == (not told_apart)
    assert looks[0] == sample.draws == 100  # of 200 a spread of a quarter was not seen, nor what 3200 had said


def test_few_draws_do_not_walk_to_zero() -> None:
    """Effects of three groups: steps of 1 in the warm-up took their spread to 0, where it stayed."""
    model = compiled(INTERCEPTS)
    fitter = model.fitter()
    setup = fitter._setup(fitter._bind({"group": np.repeat(np.arange(3), 3), "y": np.repeat([0, 1, 3], 3)}))
    setup, module, found = setup._replace(max_iter=60), model.module, []
    for seed in range(6):
        start = {"mu": np.array(0.0), "tau": np.array(1.0)}
        run = module.StochasticApproximation(setup, start, np.random.default_rng(seed), module.Schedule(1, 0, 1, 50))
        run.run(10)
        found.append(float(run.params["tau"]))
    assert np.median(found) > 0.2 and min(found) > 0.02


def test_slices_find_modes_that_waves_make() -> None:
    """Directions about an effect that is Normal: chains stayed a turn away, the spread at twice its maximum."""
    rng = np.random.default_rng(7)
    text = "model M\nparam tau : positive\nfor g in G:\n    latent b[g] ~ Normal(0, tau)\n"
    model = compiled(text + "    for r in R: observed y[g, r] ~ VonMises(b[g], 4)\ninfer b by saem\n")
    y = rng.vonmises(rng.normal(0, 0.5, (40, 1)), 4, (40, 5))
    chain = chain_of(model, {"y": y, "b": rng.normal(0, 5, 40)}, {}, {}, 1)
    for _ in range(10):
        chain.sweep({"tau": np.array(0.5)})
    assert np.abs(chain.draws["b"]).max() < 3


def test_a_sample_that_is_dear_goes_on_to_a_negligible_error() -> None:
    """Signs by Gibbs stopped at errors of a tenth of a standard error and a little: 13 fits of 40 had not converged."""
    model = emdsl.compile(text=INTERCEPTS.replace("by saem", "by saem(kernel = metropolis)"))
    fitter, module = model.fitter(seed=0), model.module
    setup, params = fitter._setup(fitter._bind(counts())), {"mu": np.array(0.5), "tau": np.array(0.7)}
    module.LAST_SWEEPS, module.PILOT, module.MOST_EVALUATIONS = 40, 40, 1
    chains = module.new_chains(setup, np.random.default_rng(0), 1)
    module._start(chains, params, 20)
    module._stop_tuning(chains)
    assert (
        module.LastSample(setup, params, chains).draws == 160
        and module.LastSample(setup, params, chains, 0, 40).draws == 40
    )


def samples_at(
    text: str, data: dict[str, Any], values: dict[str, Any], count: int, draws: int, batches: int = 24
) -> list[Any]:
    """Newton steps from here, each of a chain and a sample of its own."""
    model = emdsl.compile(text=text)
    fitter, module, found = model.fitter(seed=0), model.module, []
    setup, params = fitter._setup(fitter._bind(data)), {n: np.asarray(v, float) for n, v in values.items()}
    module.LAST_SWEEPS, module.PILOT, module.BATCHES = draws, 80, batches
    for seed in range(count):
        chains = module.new_chains(setup, np.random.default_rng(seed), 1)
        module._start(chains, params, 40)
        module._stop_tuning(chains)
        found.append(module.LastSample(setup, params, chains, most=0).found)
    return found


def test_chains_are_drawn_until_they_have_mixed() -> None:
    """They stopped at 1.05, and converged in silence. Where more draws are dear that is said."""
    text = "model M\nparam m : real\nlatent b ~ Normal(m, 1)\nobserved y ~ Poisson(exp(b))\n"
    fit = emdsl.compile(text=f"{text}infer b by mcmc(kernel = metropolis, sweeps = 20)").fitter(seed=2).fit({"y": 3})
    assert fit.converged_ and fit.monte_carlo_["rhat"]["b"] <= 1.01
    said = [verdict_of_draws(False, [], {"rhat": {"b": r}, "draws": 200}, 3) for r in (1.009, 1.05, 1.2)]
    assert [status for status, _ in said] == ["converged", "converged", "max_iter"]
    assert ["below 1.01" in words for _, words in said] == [False, True, False]


def test_stated_errors_cover_the_maximum() -> None:
    """From the maximum, which a grid finds, steps by three kernels are their stated errors long: 36 numbers whose
    squares add up to as many. Errors of half or three times their size miss the bounds, right ones once in a million
    times (by chi-square of 24, as the numbers of one sample go together)."""
    best, squares = optimum(), 0.0
    for kernel in ("slice", "hmc", "metropolis"):
        text = INTERCEPTS.replace("by saem", f"by saem(kernel = {kernel})")
        for found in samples_at(text, counts(), {"mu": best[0], "tau": np.exp(best[1])}, 6, 200):
            assert found.sure > 5 and found.share < 0.2
            squares += float(np.sum(found.step**2 / np.diag(found.noise)))
    assert 0.18 < squares / 36 < 3


def test_what_is_left_is_sure_along_every_direction() -> None:
    """Where all that draws tell of one coordinate is their noise, that the other is sure does not count."""
    rng = np.random.default_rng(0)
    curves = [-np.diag([1.0, 1.5 + 3 * c]) for c in rng.normal(size=40)]
    each = [Batch(10, 0.3 * rng.normal(size=(2, 1)), 0.09 * np.eye(2), c, 1) for c in curves]
    told = (np.zeros(2), np.arange(2), np.ones(2), np.zeros(2, bool))
    assert not stepped([each], *told).trusted and stepped([[b._replace(curve=-np.eye(2)) for b in each]], *told).trusted


def test_hessians_without_what_goes_with_slopes() -> None:
    """Crossed Gaussian effects, all in one part: what is left of the information of small spreads is known by 48
    Hessians, of which nine in ten are the slopes' noise. A spread ended 15 stated errors off."""
    rng, (i, j) = np.random.default_rng(1), np.indices((24, 3)).reshape(2, -1)
    y = (0.2 * rng.normal(size=24))[i] + 0.6 * rng.normal(size=3)[j] + rng.normal(size=72)
    text = "model M\nparam m : real\nparam s : positive\nparam t : positive\n"
    text += "for a in I:\n    latent u[a] ~ Normal(0, s)\nfor b in J:\n    latent v[b] ~ Normal(0, t)\nfor n in N:\n"
    text += "    given i[n] : index[I]\n    given j[n] : index[J]\n"
    text += "    observed y[n] ~ Normal(m + u[i[n]] + v[j[n]], 1)\ninfer u, v by mcmc\n"

    def exact(p: Any) -> float:
        cov = np.exp(2 * p[1]) * (i[:, None] == i) + np.exp(2 * p[2]) * (j[:, None] == j) + np.eye(72)
        return float(stats.multivariate_normal(np.full(72, p[0]), cov).logpdf(y))

    at = np.array([y.mean(), np.log(0.3), np.log(0.7)])
    information = -differences_of(lambda p: differences_of(exact, p), at)
    values = {"m": at[0], "s": np.exp(at[1]), "t": np.exp(at[2])}
    for found in samples_at(text, {"i": i, "j": j, "y": y}, values, 1, 200, 48):
        assert np.allclose(np.linalg.inv(found.inverse), information, rtol=0.06, atol=0.2)


def test_what_kinks_bend_by_is_information() -> None:
    """Effects ~ Laplace(mu, tau), mu inside |b - mu|: no derivative sees what is bent at one place, and no fit of them
    by Monte Carlo EM converged. Against the curvature of an integral on a grid."""
    y, grid = np.bincount(counts()["group"], counts()["y"]), np.linspace(-7, 5, 2401)
    rows = y[:, None] * grid - 5 * np.exp(grid)

    def exact(p: Any) -> float:
        log = rows - np.abs(grid - p[0]) / np.exp(p[1]) - p[1]
        return float(special.logsumexp(log, axis=1).sum())

    at, h = np.array([0.2, np.log(0.6)]), 0.02 * np.eye(2)
    slope = [(exact(at + a + b) - exact(at + a - b) - exact(at - a + b) + exact(at - a - b)) for a in h for b in h]
    text = INTERCEPTS.replace("Normal(mu, tau)", "Laplace(mu, tau)").replace("saem", "mcmc")
    for found in samples_at(text, counts(), {"mu": at[0], "tau": np.exp(at[1])}, 1, 200, 48):
        assert np.allclose(found.inverse, np.linalg.inv(-np.reshape(slope, (2, 2)) / 0.0016), rtol=0.2, atol=2e-3)


def differences_of(f: Any, at: Any) -> Any:
    """The slope of a function along each coordinate, (p, ...)."""
    return np.array([(f(at + 1e-3 * e) - f(at - 1e-3 * e)) / 2e-3 for e in np.eye(len(at))])


def test_many_parameters_do_not_climb_what_was_drawn() -> None:
    """Rates of 30 kinds: what a step gains on the very draws that it is made from was ascent at every step, and Monte
    Carlo EM went on to max_iter. Counts are negative binomial, so that a rate's maximum is 2 over its mean count."""
    text = "model M\nparam rate[K] : positive\nfor n in N:\n    given k[n] : index[K]\n"
    text += "    latent u[n] ~ Gamma(2, rate[k[n]])\n    observed y[n] ~ Poisson(u[n])\ninfer u by mcmc(sweeps = 30)\n"
    model, rng, k = compiled(text), np.random.default_rng(0), np.arange(240) % 30
    model.module.MOST_SWEEPS, y = 200, rng.poisson(rng.gamma(2, 1, 240))
    fit = model.fitter(seed=0, max_iter=40).fit({"k": k, "y": y})
    assert fit.converged_ and fit.n_iter_ < 30
    off = (fit.params_["rate"] - 16 / np.bincount(k, y)) / fit.monte_carlo_["monte_carlo_errors"]["rate"]
    assert np.abs(off).max() < FALSE_ALARM and 0.25 < np.square(off).mean() < 2.5


def test_stated_errors_cover_in_repeated_seeds() -> None:
    """Gamma rates, whose counts are negative binomial: estimates of four data sets against the maximum by scipy."""
    text = "model M\nparam a : positive\nparam r : positive\nfor n in N:\n    latent u[n] ~ Gamma(a, r)\n"
    model = compiled(text + "    observed y[n] ~ Poisson(u[n])\ninfer u by saem(warm = 20)\n")
    model.module.MOST_SWEEPS, model.module.PILOT = 200, 100
    found = []
    for seed in range(4, 8):
        rng = np.random.default_rng(seed)
        y = rng.poisson(rng.gamma(2.0, 1.5, 200))

        def loss(t: Any, y: Any = y) -> float:
            return -float(stats.nbinom.logpmf(y, np.exp(t[0]), 1 / (1 + np.exp(-t[1]))).sum())

        best = np.exp(optimize.minimize(loss, [0.7, -0.4], tol=1e-8).x)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit = model.fitter(seed=seed, max_iter=40).fit({"y": y})
        errors = fit.monte_carlo_["monte_carlo_errors"]
        assert errors["a"] < 0.3 * fit.monte_carlo_["standard_errors"]["a"]
        found += [float((fit.params_[n] - b) / errors[n]) for n, b in zip("ar", best, strict=True)]
    assert 0.2 < np.sqrt(np.mean(np.square(found))) < 2 and np.abs(found).max() < FALSE_ALARM


def test_a_chain_of_log_variances() -> None:
    """At the maximum of the likelihood on a grid of h, where 99% is missing: the step is noise, and errors are the
    grid's. They are `maximum` and `errors` of free coordinates, by filtering on 241 points."""
    maximum = {"mean": 0.81879, "level": -0.53846, "keep": 0.919255, "spread": 0.371657}
    errors = [0.0499, 0.3371, 0.6629, 0.3134]
    model = gallery_model("stochastic_volatility")
    fitter = model.fitter(seed=0)
    setup, module = fitter._setup(fitter._bind({"y": table("growth")["growth"]})), model.module
    params = {n: np.asarray(v) for n, v in maximum.items()}
    chains = module.new_chains(setup, np.random.default_rng(1), 1)
    module._start(chains, params, 100)
    module._stop_tuning(chains)
    module.MOST_SWEEPS = 200
    found = module.LastSample(setup, params, chains).found
    assert (np.abs(found.step) < FALSE_ALARM * np.sqrt(np.diag(found.noise))).all()
    assert np.abs(np.log(np.sqrt(np.diag(found.inverse)) / errors)).max() < 0.4
    assert (np.sqrt(np.diag(found.noise)) < 0.6 * np.array(errors)).all()


def test_saem_reaches_the_exact_maximum_of_random_effects() -> None:
    """Gaussian random intercepts, drawn by Gibbs: the same model without its `infer` line is exact."""
    text = INTERCEPTS.replace("Poisson(log_rate = b[group[n]])", "Normal(b[group[n]], 1)")
    rng = np.random.default_rng(0)
    data = {"group": counts()["group"], "y": rng.normal(3 + rng.normal(0, 1, 40)[counts()["group"]], 1)}
    model = compiled(text)
    model.module.MOST_SWEEPS = 800
    fits = [model.fitter(seed=2).fit(data) for _ in range(2)]
    exact = emdsl.compile(text=text, infer={"b": "exact"}).fitter(seed=1, tol=1e-10).fit(data)
    fit = fits[0]
    assert fit.converged_ and model.plan["b"].method == "saem:gibbs"
    for n in ("mu", "tau"):
        assert abs(fit.params_[n] - exact.params_[n]) < FALSE_ALARM * fit.monte_carlo_["monte_carlo_errors"][n]
        assert fit.params_[n].tobytes() == fits[1].params_[n].tobytes()
    mean, var = fit.posterior_["b"]["mean"], fit.posterior_["b"]["var"]
    assert np.abs(mean - exact.posterior_["b"]["mean"]).max() < 0.2
    assert np.abs(var / exact.posterior_["b"]["var"] - 1).max() < 0.5


def test_scales_start_as_wide_as_data() -> None:
    """From a variance of 1 under data of a thousand, EM would stand still and be taken for converged."""
    text = INTERCEPTS.replace("Poisson(log_rate = b[group[n]])", "Normal(b[group[n]], s)").replace("saem", "mcmc")
    text = text.replace("param tau", "param s : positive\nparam tau")
    rng = np.random.default_rng(0)
    group = counts()["group"]
    data = {"group": group, "y": rng.normal(rng.normal(0, 1000, 40)[group], 800)}
    tau = emdsl.compile(text=text).fitter(seed=2, max_iter=20).fit(data).params_["tau"]
    exact = emdsl.compile(text=text, infer={"b": "exact"}).fitter(seed=1).fit(data).params_["tau"]
    assert tau == pytest.approx(exact, rel=0.1)


def test_a_fit_that_is_cut_short_says_so() -> None:
    model = compiled(INTERCEPTS)
    model.module.MOST_SWEEPS = 200
    with pytest.warns(Warning, match="not converged"):
        fit = model.fitter(seed=1, max_iter=3).fit(counts())
    assert not fit.converged_ and fit.status_ == "max_iter" and "not converged" in fit.message_
    with pytest.raises(Exception, match="no log-likelihood"):
        fit.score(counts())
    with pytest.warns(Warning, match="not converged"):  # not even the Newton steps of an end move its parameters
        still = model.fitter(seed=1, max_iter=0).fit(counts(), init={"tau": 0.3})
    assert still.params_["tau"] == 0.3 and still.monte_carlo_["draws"] == 200


@pytest.mark.parametrize("rounds", [0, 1])
def test_an_interrupt_at_the_end_keeps_the_last_step(rounds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Monte Carlo EM lost its whole fit where Ctrl-C came while its errors were computed."""
    model = compiled(INTERCEPTS.replace("by saem", "by mcmc(sweeps = 20, burn_in = 2)"))
    made, plain = [], model.module.LastSample

    def sample(*arguments: Any, **beside: Any) -> Any:
        if len(made) == rounds:
            raise KeyboardInterrupt
        made.append(plain(*arguments, **beside))
        made[0].found = made[0].found._replace(length=9.0)  # too long a step: it is taken again
        return made[0]

    monkeypatch.setattr(model.module, "LastSample", sample)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = model.fitter(seed=4, max_iter=5, tol=10.0).fit(counts())
    assert fit.status_ == "interrupted" and np.isfinite(fit.params_["tau"])
    assert ("monte_carlo_errors" in fit.monte_carlo_) == bool(rounds)


def test_a_fit_without_an_error_has_not_converged() -> None:
    """Of more parameters than scores are affordable for: iterates had settled, and that was called convergence."""
    model = compiled(INTERCEPTS, "saem(warm = 3)")
    few, model.module.MOST_BY_SLOPES = model.module.MOST_BY_SLOPES, 1
    with pytest.warns(Warning, match="the error of 2 parameters is not told"):
        fit = model.fitter(seed=1, max_iter=20).fit(counts())
    assert fit.status_ == "max_iter" and "monte_carlo_errors" not in fit.monte_carlo_
    model.module.MOST_BY_SLOPES = few


def test_the_last_rung_is_monte_carlo() -> None:
    """Crossed effects under a logistic link: no rung above takes them, and the reason says what ties them."""
    model = emdsl.compile(
        text="""
model M
param s : positive
for a in A:
    latent u[a] ~ Normal(0, s)
for b in B:
    latent v[b] ~ Normal(0, s)
for n in N:
    given i[n] : index[A]
    given j[n] : index[B]
    observed y[n] ~ Bernoulli(logit = u[i[n]] + v[j[n]])
"""
    )
    assert {p.method for p in model.plan.values()} == {"saem:slice"}
    assert "log(1 + exp(" in model.plan["u"].reason and "not exact" in model.plan["u"].reason


@pytest.mark.parametrize(
    "line",
    [
        "infer z by mcmc(kernel = slice)",
        "infer z by saem\ninfer b by mcmc",
        "infer k by saem(kernel = hmc)",
        "infer (k, b) by saem",
    ],
)
def test_what_cannot_be_drawn_is_refused(line: str) -> None:
    model = emdsl.compile(
        text=f"""
model M
param w : simplex[2]
for n in N:
    latent z[n] ~ Categorical(w)
    latent b[n] ~ Normal(0, 1)
    latent k[n] ~ Poisson(2)
    observed y[n] ~ Poisson(exp(b[n] + z[n] + k[n]))
{line}
"""
    )
    assert isinstance(model.refusal, ModelError) and model.refusal.problems[0].code == "E120"


def test_rhat_and_effective_sizes() -> None:
    """Independent draws have as many as there are; an AR(1) chain with coefficient 0.9 a 19th of them."""
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(4, 2000))
    slow = np.zeros_like(noise)
    for t in range(1, 2000):
        slow[:, t] = 0.9 * slow[:, t - 1] + noise[:, t]
    assert effective_size(noise) == pytest.approx(8000, rel=0.1)
    assert effective_size(slow) == pytest.approx(8000 / 19, rel=0.3)
    assert split_rhat(noise) < 1.01 and split_rhat(noise + np.arange(4)[:, None]) > 1.3
    few = slow[:3, :57]  # ArviZ 0.23.4 has these
    assert (effective_size(slow), effective_size(few)) == pytest.approx(
        (415.1736301651654, 14.141115489982592), rel=1e-10
    )
    assert split_rhat(few) == pytest.approx(1.1983943284525094, rel=1e-10)


def test_orange_trees() -> None:
    """Logistic growth: within a standard error of the maximum of the likelihood, each tree's asymptote
    summed out on a grid of 20,001 points."""
    best = {"top": (5.2441, 0.081), "spread": (0.1653, 0.053), "middle": (0.7279, 0.032), "pace": (0.3481, 0.026)}
    rows = table("orange")
    model = gallery_model("nonlinear_growth")
    model.module.MOST_SWEEPS, model.module.ROUNDS = 200, 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = model.fitter(seed=1, max_iter=180).fit({n: rows[n] for n in ("tree", "age", "trunk")}, init={"s2": 60.0})
    for n, (value, error) in best.items():
        assert abs(float(fit.params_[n]) - value) < error


def test_networks_are_drawn_jointly_and_in_turn() -> None:
    """80 rings of five elements: frequencies against exact probabilities; each way of drawing."""
    rng, copies = np.random.default_rng(0), 80
    at = np.arange(5 * copies)
    after = at - at % 5 + (at + 1) % 5
    tables = [np.tile(rng.normal(size=(2, 5)), copies), np.tile(rng.normal(size=(2, 2, 5)), copies)]
    cliques: Any = [([("z", at)], None), ([("z", at), ("z", after)], None)]
    levels = {"z": (2, len(at))}
    exact, _, _ = network_posterior(Network(levels, cliques), tables)
    for colours in (None, [at[np.isin(at % 5, some)] for some in ([0, 2], [1, 3], [4])]):
        net = Network(levels, cliques, False)
        net.colours = colours
        state, seen = {"z": np.zeros(len(at), int)}, []
        for _ in range(45):
            state = draw_network((net, {"z": (len(at),)}), tables, state, rng)
            seen.append(state["z"].reshape(copies, 5).mean(0))
        assert (net.colours is None) == (colours is None)
        assert np.abs(np.mean(seen[5:], axis=0) - exact["z"][1][:5]).max() < 0.03


def flat(values: Any) -> Any:
    return np.asarray(values) + np.zeros(4000)


MATRIX = np.array([[2.0, 0.8], [0.8, 1.0]])
INVERSE = np.linalg.inv(MATRIX)
FAMILIES: dict[str, Any] = {  # how 4000 are drawn; functions of them and their distributions
    "states": (lambda r: drawing.draw_states(np.outer([0.2, 0.5, 0.3], np.ones(4000)), 1, r) + r.uniform(size=4000),
               [(lambda x: np.interp(x, range(4), [0, 0.2, 0.7, 1]), "uniform")]),
    "Normal": (lambda r: drawing.draw_Normal(flat(1), flat(4), r), [(lambda x: (x - 1) / 2, "norm")]),
    "Gaussian": (lambda r: np.array(drawing.draw_gaussian([flat(1), np.zeros((1, 4000))], [
        [flat(2), np.full((1, 4000), 0.8)], [np.ones((1, 1, 4000))]], [0, 1], r)[::-1], dtype=object),
        [(lambda x: ((x[1] - 1) / 2**0.5).astype(float), "norm"), (lambda x: x[0].astype(float).ravel(), "norm"),
         (lambda x: ((x[1] - 1 - x[0].ravel()) / 1.4**0.5).astype(float), "norm")]),
    "cut": (lambda r: drawing.draw_cut_normal(flat(0.25), flat(-0.125), flat(1.5), flat(9), r),
            [(lambda x: (x - 1) / 2, stats.truncnorm(0.25, 4))]),
    "cut near": (lambda r: drawing.draw_cut_normal(flat(0.25), flat(-0.125), flat(1.5), flat(3), r),
                 [(lambda x: (x - 1) / 2, stats.truncnorm(0.25, 1))]),
    "cut without data": (lambda r: drawing.draw_cut_normal(flat(0), flat(0), flat(-1), flat(3), r),
                         [(lambda x: (x + 1) / 4, "uniform")]),
    "cut far out": (lambda r: drawing.draw_cut_normal(flat(0), flat(-0.5), flat(9), flat(np.inf), r),
                    [(lambda x: x, stats.truncnorm(9, np.inf))]),
    "cut outside": (lambda r: drawing.draw_cut_normal(flat(0), flat(-0.5), flat(1), flat(-0.5), r),
                    [(lambda x: stats.norm.cdf(x) - (x > 0) * np.diff(stats.norm.cdf([-0.5, 1])),
                      stats.uniform(0, stats.norm.cdf(-0.5) + stats.norm.sf(1)))]),
    "cut and rising with the square": (
        lambda r: drawing.draw_cut_normal(flat(1.2), flat(2), flat(-1), flat(1), r),
        [(lambda x: special.erfi(2**0.5 * (x + 0.3)),
          stats.uniform(special.erfi(-0.7 * 2**0.5), special.erfi(1.3 * 2**0.5) + special.erfi(0.7 * 2**0.5)))]),
    "LogNormal": (lambda r: drawing.draw_LogNormal(flat(1), flat(4), r), [(lambda x: (np.log(x) - 1) / 2, "norm")]),
    "Gamma": (lambda r: drawing.draw_Gamma(flat(0.7), flat(3), r), [(lambda x: 3 * x, stats.gamma(0.7))]),
    "InverseGamma": (lambda r: drawing.draw_InverseGamma(flat(2.5), flat(3), r),
                     [(lambda x: x / 3, stats.invgamma(2.5))]),
    "Beta": (lambda r: drawing.draw_Beta(flat(0.4), flat(2), r), [(lambda x: x, stats.beta(0.4, 2))]),
    "Dirichlet": (lambda r: drawing.draw_Dirichlet(np.outer([0.1, 1, 2], np.ones(4000)), r),
                  [(lambda p: p[0], stats.beta(0.1, 3)), (lambda p: p[2], stats.beta(2, 1.1))]),
    "VonMises": (lambda r: drawing.draw_VonMises(flat(1), flat(2), r),
                 [(lambda x: (x - 1 + np.pi) % (2 * np.pi) - np.pi, stats.vonmises(2))]),
    "InverseGaussian": (lambda r: drawing.draw_InverseGaussian(flat(-0.5), flat(3), flat(2), r),
                        [(lambda x: x / (2 / 3) ** 0.5, stats.geninvgauss(-0.5, 6**0.5))]),
    "Wishart": (lambda r: drawing.draw_Wishart(flat(3.5), MATRIX[:, :, None] + np.zeros(4000), r),
                [(lambda w: w[0, 0] / 2, stats.chi2(3.5)), (lambda w: w[1, 1], stats.chi2(3.5)),
                 (lambda w: (w[0, 0] - w[0, 1] ** 2 / w[1, 1]) / (2 - 0.8**2), stats.chi2(2.5))]),
    "InverseWishart": (lambda r: drawing.draw_InverseWishart(flat(3.5), MATRIX[:, :, None] + np.zeros(4000), r),
                       [(lambda w: w[1, 1] / (w[0, 0] * w[1, 1] - w[0, 1] ** 2) / INVERSE[0, 0], stats.chi2(3.5)),
                        (lambda w: 2 / w[0, 0], stats.chi2(2.5))]),
}  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
def test_draws_of_conditionals_are_of_their_distribution(name: str) -> None:
    """A Gaussian drawn a tenth too wide, a Beta of another shape, matrices of exchanged degrees: no test saw them."""
    draw, told = FAMILIES[name]
    drawn = draw(np.random.default_rng(2))
    for function, law in told:
        assert stats.kstest(function(drawn), law if isinstance(law, str) else law.cdf).pvalue > 1e-3


def test_classes_that_see_draws_alone() -> None:
    """What a class takes from data are draws, which nobody knows before the fit: ended in a KeyError."""
    text = """
model Classes
param q : unit
param m[2] : real
for n in N:
    latent z[n] ~ Bernoulli(q)
    latent b[n] ~ Normal(m[z[n]], 1)
    observed y[n] ~ Poisson(exp(b[n]))
infer b by mcmc(sweeps = 2, burn_in = 1)
"""
    params = {"q": np.array(0.5), "m": np.array([0.0, 2.0])}
    found = emdsl.compile(text=text).fitter(seed=0).e_step(params, {"y": [1, 0, 9]})
    assert np.isfinite(found["log_likelihood"])


@pytest.mark.filterwarnings("ignore::UserWarning")  # few iterations do not converge
def test_steps_of_saem_rise_from_afar() -> None:
    """A decay whose exact plan is Gaussian: whole steps of Newton's led to where nothing decays, from most seeds."""
    text = """
    model Decay
    param m : real
    param k : real
    param floor : real
    param spread : positive
    param s : positive
    for g in G:
        latent a[g] ~ Normal(m, spread)
        for n in N:
            given t[g, n] : real
            observed y[g, n] ~ Normal(a[g] * exp(-exp(k) * t[g, n]) + floor, s)
    """
    rng = np.random.default_rng(0)
    t = np.tile(np.linspace(0, 5, 7), (20, 1))
    y = rng.normal(3, 0.5, (20, 1)) * np.exp(-np.exp(-0.2) * t) + 1 + 0.1 * rng.normal(size=t.shape)
    start = {"m": 2.5, "k": 0.0, "floor": 0.5, "spread": 1.0, "s": 0.3}
    exact = emdsl.compile(text=text).fitter(init=start).fit({"t": t, "y": y}).params_
    drawn: Any = emdsl.compile(text=text, infer={"a": "saem"})
    found = drawn.fitter(init=start, seed=1, max_iter=12, tol=0).fit({"t": t, "y": y}).params_
    for name in ("m", "k", "floor", "s"):
        assert abs(found[name] - exact[name]) < 0.1, name


def test_a_state_that_no_draw_shows_is_not_lost() -> None:
    """One sequence has one first element: by one draw of it the other state never began, for ever after."""
    text = """
model Bursts
param s : simplex[2]
for n in N:
    latent z[n] ~ Categorical(s)
    observed x[n] ~ Poisson([2, 20][z[n]])
"""
    module = emdsl.compile(text=text, infer={"z": "saem"}).module
    setup: Any = SimpleNamespace(module=module, policy="raise", prepared={"the sizes": {"N": 1}}, untouched=None)
    old = {"s": np.array([0.4, 0.6])}
    for _ in range(2):
        old = closed_m_step(setup, {"z": np.array([0.0, 1.0])}, old)
    half = 0.5 * 0.2 / 1.2  # of what was half of 0.4 beside 1
    np.testing.assert_allclose(old["s"], np.array([half, 1]) / (half + 1), rtol=1e-12)
    bound = emdsl.compile(text=text, infer={"z": "saem"}).fitter(seed=0, max_iter=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert (bound.fit({"x": [3.0]}).params_["s"] > 0.04).all()


@pytest.mark.filterwarnings("ignore::UserWarning")  # no iteration converges
def test_what_is_drawn_is_not_integrated_out_in_its_place() -> None:
    """Data are the sum of two noises, one of which is drawn: its conditional was that of the other, and no draw moved
    it. Exact: the share of the variance that is its own."""
    text = "model M\nparam m : real\nparam s : positive\nfor n in N:\n    latent one[n] ~ Normal(m, s)\n"
    text += "    latent two[n] ~ Normal(0, 0.5)\n    observed c[n] ~ Delta(one[n] + two[n])\ninfer one by mcmc\n"
    c = 2 + 1.5 * np.random.default_rng(1).normal(size=40)
    fit = compiled(text).fitter(max_iter=0, seed=1).fit({"c": c}, init={"m": 2.0, "s": 1.2})
    told, share = fit.posterior({"c": c})["one"], 1.44 / (1.44 + 0.25)
    assert np.abs(told["mean"] - 2 - share * (c - 2)).max() < FALSE_ALARM * np.sqrt(share * 0.25 / 50)
    assert told["var"].mean() == pytest.approx(share * 0.25, rel=0.15)


def test_a_count_that_is_drawn_is_an_index() -> None:
    """Found by chance: draws of counts are floats, and an array was asked for its element 1.0."""
    text = """
        model CountIndex
        param share : unit
        param level[3] : real
        for n in N:
            latent z[n] ~ Binomial(2, share)
            observed y[n] ~ Normal(level[z[n]], 1)
        infer z by saem(kernel = slice)
    """
    rng = np.random.default_rng(0)
    level = np.array([-8.0, 0.0, 9.0])
    y = level[rng.binomial(2, 0.4, 60)] + rng.normal(size=60)
    fit = emdsl.compile(text=text).fitter(seed=1, max_iter=30).fit({"y": y}, init={"level": level, "share": 0.4})
    np.testing.assert_allclose(fit.params_["level"], level, atol=2.0)
