"""Plates that leave elements out: log-likelihoods by brute force, scipy's densities, and the same data cut by hand."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.stats import multivariate_normal, nbinom, norm
from scipy.stats import t as student

import emdsl
from emdsl.runtime.data.faults import ConvergenceWarning

U = np.array([1.0, -1.0, 2.0, 3.0])
Y = np.array([0.3, 1.0, -2.0, 0.4])
S = 1.3
HEAD = "model Cut\nparam s : positive\nfor n in N:\n    given u[n] : real\n    given b[n] : bool\n"

BODIES = {
    "Gamma": "latent l[n] ~ Gamma(2, s)\n    observed c[n] ~ Poisson(l[n])",
    "Normal": "latent l[n] ~ Normal(0, s)\n    observed y[n] ~ Normal(l[n], 1)",
    "two Normals": "latent l[n] ~ Normal(0, s)\n    latent k[n] ~ Normal(l[n], 1)\n"
    "    observed y[n] ~ Normal(l[n] + k[n], 1)",
    "MvNormal": "latent l[n] ~ MvNormal(zeros(2), s * eye(2))\n    observed y[n] ~ Normal(sum(l[n]), 1)",
    "scaled": "latent l[n] ~ Gamma(2, s)\n    latent q[n] ~ Normal(0, var = 1 / l[n])\n"
    "    observed y[n] ~ Normal(q[n], var = 1 / l[n])",
    "hybrid": "latent q[n] ~ Bernoulli(0.4)\n    latent l[n] ~ Gamma([2, 4][q[n]], s)\n"
    "    observed c[n] ~ Poisson(l[n])",
    "undefined elsewhere": "latent q[n] ~ Bernoulli(0.4)\n    observed y[n] ~ Normal(log(u[n]) + q[n], s)",
}


def value(text: str, data: dict[str, Any], **sizes: int) -> float:
    model = emdsl.compile(text=text)
    mine = {n: v for n, v in data.items() if n in model.observed or n in model.givens}
    return float(model.fitter(**sizes).e_step({"s": S}, mine)["log_likelihood"])


@pytest.mark.parametrize("name", BODIES)
def test_what_is_left_out_is_not_there(name: str) -> None:
    """The likelihood is that of the rows that are kept; D015 where a left-out latent had no density of its own."""
    condition = "b[n]" if len(name) % 2 else "u[n] > 0"
    data = {"u": U, "b": (U > 0) * 1, "y": Y, "c": np.arange(4)}
    kept = {n: v[U > 0] for n, v in data.items()}
    filtered = value(f"{HEAD}for n in N if {condition}:\n    {BODIES[name]}", data)
    assert filtered == pytest.approx(value(f"{HEAD}for n in N:\n    {BODIES[name]}", kept), rel=1e-12)


@pytest.mark.parametrize("condition", ["u[n] > 0", "w[n]"])
@pytest.mark.parametrize("junk", [np.inf, 1e300])
def test_what_stands_at_what_is_left_out_is_not_looked_at(condition: str, junk: float) -> None:
    """Where what is observed decides it too."""
    model = emdsl.compile(
        text="model Cut\nparam m : real\nparam p : unit\nfor n in N:\n    given u[n] : real\n"
        f"    observed w[n] ~ Bernoulli(p)\nfor n in N if {condition}:\n    observed y[n] ~ Normal(m, 1)"
    )
    data = {"u": U, "w": (U > 0) * 1, "y": np.where(U > 0, Y, junk)}
    assert model.fitter().fit(data).params_["m"] == pytest.approx(Y[U > 0].mean(), abs=1e-12)


def paths() -> float:
    """log p of a chain of three."""
    start, moves = np.array([0.3, 0.7]), np.array([[0.9, 0.1], [0.2, 0.8]])
    total = 0.0
    for z in itertools.product(range(2), repeat=3):
        total += start[z[0]] * moves[z[0], z[1]] * moves[z[1], z[2]] * np.prod(norm.pdf(Y[1:], z, S))
    return float(np.log(total))


def tree() -> float:
    total = 0.0
    for a, b, c in itertools.product(range(2), repeat=3):
        leaf = np.array([0.2, 0.6])[a]
        total += (
            (0.3 if a else 0.7)
            * np.prod([leaf if k else 1 - leaf for k in (b, c)])
            * np.prod(norm.pdf(Y[1:], [a, b, c], S))
        )
    return float(np.log(total))


def mixed() -> float:
    rows = []
    for u, y in zip(U, Y, strict=True):
        second = [(0.2, 0), (0.3, 1), (0.5, 2)] if u > 0 else [(1.0, 0)]
        rows.append(np.log(sum(p * q * norm.pdf(y, z + w, S) for p, z in ((0.7, 0), (0.3, 1)) for q, w in second)))
    return float(sum(rows))


STEP = "latent z[{at}t] ~ Categorical([.3, .7]) if t == {first} else Categorical([[.9, .1], [.2, .8]][z[{at}t-1]])\n"
AT, BY, KEEP, V = [0, 1, 2, 0, 1], [0, 1, 0, 1, 0], np.array([1, 0, 1]), np.array([0.3, 1.0, -2.0, 0.4, 0.1])
PLACES = list(zip(AT, BY, strict=True))
DESIGN = np.array([[2.0 * (KEEP[i] and g == i) for g in range(3)] + [j == h for h in range(2)] for i, j in PLACES])
PAIRS = np.random.default_rng(0).normal(size=(4, 4))
COUNTS = [np.array([1, 2, 3]), np.array([4, 5]), np.array([0, 2, 1])]
MORE: dict[str, tuple[str, dict[str, Any], Any]] = {
    "one of two latents": (
        "for n in N:\n    given u[n] : real\n    latent z[n] ~ Bernoulli(.3)\nfor n in N if u[n] > 0:\n"
        "    latent w[n] ~ Categorical([.2, .3, .5])\nfor n in N:\n"
        "    observed y[n] ~ Normal(z[n] + w[n], s) if u[n] > 0 else Normal(z[n], s)",
        {"u": U, "y": Y},
        mixed,
    ),
    "crossed groups": (
        "for g in G:\n    given keep[g] : bool\nfor g in G if keep[g]: latent a[g] ~ Normal(0, 2)\n"
        "for h in H: latent b[h] ~ Normal(0, 1)\nfor n in N:\n    given i[n] : index[G]\n    given j[n] : index[H]\n"
        "    observed v[n] ~ Normal(a[i[n]] + b[j[n]], s) if keep[i[n]] else Normal(b[j[n]], s)",
        {"keep": KEEP, "i": AT, "j": BY, "v": V},
        lambda: multivariate_normal.logpdf(V, np.zeros(5), DESIGN @ DESIGN.T + S**2 * np.eye(5)),
    ),
    "a chain that starts at 1": (
        f"for t in T if t > 0:\n    {STEP.format(at='', first=1)}    observed y[t] ~ Normal(z[t], s)",
        {"y": Y},
        paths,
    ),
    "ragged chains of some groups": (
        "for g in G:\n    given keep[g] : bool\nfor g in G if keep[g]:\n    for t in T[g]:\n"
        f"        {STEP.format(at='g, ', first=0)}        observed y[g, t] ~ Normal(z[g, t], s)",
        {"keep": KEEP, "y": [Y[1:], Y, Y[1:]]},
        lambda: 2 * paths(),
    ),
    "ragged Gammas of some groups": (
        "for g in G:\n    given keep[g] : bool\nfor g in G if keep[g]:\n    for t in T[g]:\n"
        "        latent l[g, t] ~ Gamma(2, 1)\n        observed c[g, t] ~ Poisson(s * l[g, t])",
        {"keep": KEEP, "c": COUNTS},
        lambda: sum(nbinom.logpmf(COUNTS[g], 2, 1 / (1 + S)).sum() for g in (0, 2)),
    ),
    "a tree below its root": (
        "for n in N: given up[n] : index[N]\nfor n in N if n > 0:\n"
        "    latent z[n] ~ Bernoulli(.3) if n == 1 else Bernoulli([.2, .6][z[up[n]]])\n"
        "    observed y[n] ~ Normal(z[n], s)",
        {"up": [0, 0, 1, 1], "y": Y},
        tree,
    ),
    "pairs": (
        "for i in I:\n    for j in I if j < i:\n        latent l[i, j] ~ Gamma(2, s)\n"
        "        observed p[i, j] ~ Normal(0, var = 1 / l[i, j])",
        {"p": PAIRS},
        lambda: student.logpdf(PAIRS[np.tril_indices(4, -1)], 4, 0, np.sqrt(S / 2)).sum(),
    ),
}


@pytest.mark.parametrize("name", MORE)
def test_brute_force(name: str) -> None:
    text, data, oracle = MORE[name]
    assert value(f"model Cut\nparam s : positive\n{text}", data) == pytest.approx(oracle(), rel=1e-12)


LEFT_OUT = """
    model LeftOut
    param a : positive
    for i in N:
        for j in N if j < i and i != 3:
            given s[i, j] : positive
            observed e[i, j] ~ Poisson(a * s[i, j])
            observed g[i, j] ~ Gamma(s[i, j], a)
"""


def test_nobody_looks_at_what_a_plate_leaves_out() -> None:
    rng = np.random.default_rng(0)
    i, j = np.indices((5, 5))
    kept = (j < i) & (i != 3)
    s, e, g = rng.gamma(2, size=(5, 5)), rng.poisson(2, (5, 5)), rng.gamma(2, size=(5, 5))
    junk = {"s": np.where(kept, s, -1.0), "e": np.where(kept, e, -7.5), "g": np.where(kept, g, -2.0)}
    model = emdsl.compile(text=LEFT_OUT)
    fit = model.fitter(init={"a": 0.8}, max_iter=0, tol=0)
    with pytest.warns(ConvergenceWarning):
        fit.fit(junk)
    expected = stats.poisson(0.8 * s[kept]).logpmf(e[kept]) + stats.gamma(s[kept], scale=1 / 0.8).logpdf(g[kept])
    assert fit.log_likelihood_ == pytest.approx(expected.sum(), rel=1e-12)
    with pytest.raises(emdsl.DataError, match=r"^error D005: e: "):
        model.fitter().fit({**junk, "e": np.where(i == 2, -1.0, junk["e"])})


@pytest.mark.parametrize(
    "condition", ["j > 0", "j >= k", "use[i, j]", "j != first[i] and T[i] > 0", "not (j % T[i] == 0)"]
)
def test_nor_at_what_a_ragged_one_leaves_out(condition: str) -> None:
    """A lag of a first row is no number: a plate that leaves first rows out does not ask for one."""
    text = f"""model Lags
param a : real
given k : count = 1
for i in N:
    given first[i] : count
    for j in T[i]:
        given use[i, j] : bool
    for j in T[i] if {condition}:
        given before[i, j] : real
        observed y[i, j] ~ Normal(a * before[i, j], 1)
"""
    model, inf = emdsl.compile(text=text), np.inf
    data: dict[str, Any] = {"y": [[inf, 1.0, 2.0], [-inf], [np.nan, 3.0]], "use": [[0, 1, 1], [0], [0, 1]]}
    data |= {"before": [[np.nan, 1.0, 1.0], [inf], [-inf, 2.0]], "k": 1, "first": [0, 0, 0]}
    assert model.fitter().fit(data).params_["a"] == pytest.approx(9 / 6)


@pytest.mark.parametrize(
    "body",
    [
        "observed y[n] ~ Normal(m, 1)",
        "latent u[n] ~ Normal(m, 1)\n    observed y[n] ~ Delta(min(u[n], 1))",
        "latent z[n] ~ Bernoulli(0.3)\n    observed y[n] ~ Normal(m * z[n], 1)",
    ],
)
def test_what_says_which_elements_there_are_is_not_missing(body: str) -> None:
    """A row of it was taken for one that is kept, without a word of how likely that is; where latents are in it, it
    raised an exception of Python."""
    text = "model M\nparam m : real\nfor n in N:\n    observed c[n] ~ Bernoulli(0.5)\n    let in[n] = c[n] == 1\n"
    model = emdsl.compile(text=f"{text.replace('in[', 'kept[')}for n in N if kept[n]:\n    {body}")
    data = {"c": np.array([1, 0, np.nan, 1, np.nan]), "y": np.array([0.5, np.nan, 0.2, 0.1, np.nan])}
    with pytest.raises(emdsl.DataError, match="2 values are missing, the first in row 2"):
        model.fitter().fit(data)
    with pytest.raises(emdsl.ModelError, match="which elements a plate has is what c says"):
        model.complete(("c",))
