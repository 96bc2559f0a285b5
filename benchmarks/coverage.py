"""`python -m benchmarks.coverage [MODEL...] [--seeds 20]`: do stated Monte Carlo errors cover the exact answer?

Each model has an exact E-step, or quadrature, when its `infer` line is left out: EM from a fit by draws then ends in
the maximum beside it. Estimates of fits that call themselves converged are counted within two of their stated errors,
per parameter; a right error covers 95.4 in 100.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import emdsl

Data = dict[str, Any]
Case = tuple[str, str, Callable[[np.random.Generator], Data], dict[str, int]]

INTERCEPTS = """
model Coverage
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


CASES: dict[str, Case] = {
    "poisson intercepts": (
        INTERCEPTS.format(family="Poisson(log_rate = b[group[n]])"), "b",
        _grouped(60, 5, lambda rng, b: rng.poisson(np.exp(b))), {},
    ),
    "many groups": (
        INTERCEPTS.format(family="Poisson(log_rate = b[group[n]])"), "b",
        _grouped(1500, 3, lambda rng, b: rng.poisson(np.exp(b))), {},
    ),
    "little said": (
        INTERCEPTS.format(family="Bernoulli(logit = b[group[n]])"), "b",
        _grouped(200, 3, lambda rng, b: (rng.random(len(b)) < 1 / (1 + np.exp(-b))).astype(int)), {},
    ),
    "gaussian intercepts": (
        INTERCEPTS.format(family="Normal(b[group[n]], 1.5)"), "b",
        _grouped(40, 4, lambda rng, b: rng.normal(b, 1.5)), {},
    ),
    "logistic regression": ("""
model Coverage
param a : real
param w : real
param tau : positive
for g in G:
    latent b[g] ~ Normal(0, tau)
for n in N:
    given group[n] : index[G]
    given x[n] : real
    observed y[n] ~ Bernoulli(logit = a + w * x[n] + b[group[n]])
""", "b", _regression, {}),
    "mixture": ("""
model Coverage
param p : simplex[2]
param m[2] : real
param s : positive
for n in N:
    latent z[n] ~ Categorical(p)
    observed y[n] ~ Normal(m[z[n]], s)
""", "z", lambda rng: {"y": rng.normal(np.where(rng.random(200) < 0.4, 0.0, 2.6), 1.0)}, {}),
    "chain": ("""
model Coverage
param first : simplex[2]
param trans[2] : simplex[2]
param rate[2] : positive
for t in T:
    latent z[t] ~ Categorical([0.5, 0.5]) if t == 0 else Categorical(trans[z[t-1]])
    observed y[t] ~ Poisson(rate[z[t]])
""".replace("param first : simplex[2]\n", ""), "z", _switching, {}),
    "local level": ("""
model Coverage
param drift : positive
param noise : positive
for t in T:
    latent h[t] ~ Normal(0, 5) if t == 0 else Normal(h[t-1], drift)
    observed y[t] ~ Normal(h[t], noise)
""", "h", _walk, {}),
    "gamma rates": ("""
model Coverage
param a : positive
param rate : positive
for n in N:
    latent u[n] ~ Gamma(a, rate)
    observed y[n] ~ Poisson(u[n])
""", "u", lambda rng: {"y": rng.poisson(rng.gamma(2.0, 1.5, 200))}, {}),
    "beta shares": ("""
model Coverage
param a : positive
param b : positive
for n in N:
    given trials[n] : count
    latent p[n] ~ Beta(a, b)
    observed y[n] ~ Binomial(trials[n], p[n])
""", "p", lambda rng: {"trials": np.full(80, 12), "y": rng.binomial(12, rng.beta(2, 3, 80))}, {}),
    "random slopes": ("""
model Coverage
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
""", "u, v", _slopes, {}),
    "classes exact beside": ("""
model Coverage
param p : unit
param tau : positive
param m[2] : real
for g in G:
    latent z[g] ~ Bernoulli(p)
    latent b[g] ~ Normal(0, tau)
for n in N:
    given group[n] : index[G]
    observed y[n] ~ Poisson(exp(m[z[group[n]]] + b[group[n]]))
""", "b", _mixed, {}),
    "rows of two kinds": ("""
model Coverage
param p : simplex[2]
param m[2] : real
param tau : positive
for g in G:
    latent b[g] ~ Normal(0, tau)
for n in N:
    given group[n] : index[G]
    latent z[n] ~ Categorical(p)
    observed y[n] ~ Poisson(exp(m[z[n]] + b[group[n]]))
""", "b", _rows_of_two_kinds, {}),
    "growth": ("""
model Coverage
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
""", "b", _growth, {}),
}  # fmt: skip


def fits(name: str, method: str, seeds: int) -> Iterator[tuple[Any, dict[str, Any], float]]:
    """Fits by draws of data that are new for each seed, the maximum beside each, and its CPU seconds."""
    text, latents, make, sizes = CASES[name]
    plan = emdsl.compile(text=text).plan
    fine = (
        {n: "quadrature(points = 61)" for n, p in plan.items() if p.method == "quadrature"}
        if "," not in latents
        else {}
    )
    exact = emdsl.compile(text=text, infer=fine or None).fitter(seed=0, tol=1e-11, max_iter=20_000, **sizes)
    drawn = emdsl.compile(text=f"{text}infer {latents} by {method}\n")
    for seed in range(seeds):
        data = make(np.random.default_rng(1000 + seed))
        start = time.process_time()
        fit = drawn.fitter(seed=seed, max_iter=600, **sizes).fit(data)
        spent = time.process_time() - start
        exact.fit(data, init={n: fit.params_[n] for n in drawn.params})
        yield fit, dict(exact.params_), spent


def covered(name: str, method: str, seeds: int) -> str:
    """One line: fits that converged, errors off over stated errors, and how many estimates lie within two of them."""
    off, shares, spent, converged = [], [], [], 0
    for fit, best, cpu in fits(name, method, seeds):
        spent.append(cpu)
        report = fit.monte_carlo_
        if not fit.converged_ or "monte_carlo_errors" not in report:
            continue
        converged += 1
        for n, error in report["monte_carlo_errors"].items():
            z = np.ravel((fit.params_[n] - best[n]) / np.where(error > 0, error, np.nan))
            off.append(z[:-1] if n in ("p", "trans") and np.ndim(best[n]) else z)  # of a simplex the last says nothing
            shares.append(np.ravel(error / report["standard_errors"][n]))
    z = np.concatenate([*off, np.zeros(0)])
    z = z[np.isfinite(z)]
    within = f"{np.mean(np.abs(z) < 2):.1%} of {len(z)}" if len(z) else "none"
    rms = np.sqrt(np.mean(z**2)) if len(z) else np.nan
    worst = np.abs(z).max(initial=0.0)
    share = np.nanmax(np.concatenate([*shares, np.zeros(1)]))
    return (
        f"{name:22s} {method:6s} converged {converged}/{seeds}, within 2: {within}, rms {rms:.2f}, worst {worst:.1f}, "
        f"largest share {share:.1%}, {np.median(spent):.1f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="*", default=[])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--methods", nargs="*", default=["saem", "mcmc"])
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    for name in asked.models or CASES:
        for method in asked.methods:
            print(covered(name, method, asked.seeds), flush=True)


if __name__ == "__main__":
    main()
