"""What a family is as an exponential family: sympy and the indexed algebra against each other and the density.

Every family of the prelude is here by itself; a new one needs no line in this file.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import sympy as sp
from algebra import World

import emdsl
from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El
from emdsl.derive.algebra.show import show
from emdsl.derive.joint.exponential import Exponential, NotExponential, exponential, functions_in, indexed
from emdsl.families import PRELUDE, form
from emdsl.families.density import expression_log_density
from emdsl.families.drawing import draw
from emdsl.families.normalised import random_arguments
from emdsl.families.split import length
from emdsl.language import parse_families

USERS = """
family Rayleigh(x : positive | s : positive) = log(x) - 2*log(s) - x^2 / (2*s^2)
family Pareto(x : real(min = 1) | a : positive) = log(a) - (a + 1)*log(x)
family Kumaraswamy(x : unit | a : positive, b : positive) = log(a*b*x^(a-1)*(1-x^a)^(b-1))
family Triangle(x : unit | c : unit) = log(2) + (log(x/c) if x < c else log((1 - x)/(1 - c)))
family Ring(x : real[2] | s : positive) = -sum(x[i]^2 for i in 2)/(2*s) - log(s) - log(2*pi)
family Drift(x : real[D] | m : real, s : positive) = -sum((x[i] - m*i)^2 for i in D)/(2*s) - D*log(2*pi*s)/2
family Trinomial(x : category[3] | p : unit) = log([p^2, 2*p*(1-p), (1-p)^2][x])
family Peak(x : real[D] | m : real) = -abs(max(x) - m)
"""
FAMILIES = {**PRELUDE(), **{f.name: f for f in parse_families(USERS, "users.em")}}
FORMS = [(n, k) for n, f in FAMILIES.items() for k in range(len(f.signatures))]
SCALAR = [
    (n, k) for n, k in FORMS if not FAMILIES[n].x.domain.dims and FAMILIES[n].x.domain.kind != "category"
]  # fmt: skip
SIZE, ROWS = 3, 4


@cache
def worlds(name: str, signature: int) -> list[tuple[World, float]]:
    """Random arguments with a draw under them, as the algebra names them, and the log density there."""
    family = FAMILIES[name]
    rng = np.random.default_rng(signature)
    sizes = dict.fromkeys(family.sizes, SIZE)
    args = random_arguments(family, signature, sizes, rng, ROWS)
    event = tuple(d.constant or SIZE for d in family.x.domain.dims)
    arrays = list(args.values())
    by = form(family, signature)
    if event and by is None:
        values = rng.normal(size=(ROWS, *event))
    else:
        extra = [np.full(ROWS, 7)] if by is not None and by.given else []
        values = draw(family, signature, rng, (ROWS,), [*arrays, *extra], event)
    said = expression_log_density(family, signature, values, arrays)
    dims = dict.fromkeys(family.sizes, SIZE) | {str(n): n for n in range(1, 10)}
    return [
        (World(dims, {family.x.name: values[k], **{n: v[k] for n, v in args.items()}}), float(said[k]))
        for k in range(ROWS)
    ]


def value(parts: Exponential, world: World) -> float:
    total = world.value(parts.log_base, {}) - world.value(parts.log_partition, {})
    return total + sum(world.total(1, (p.statistic, p.natural), p.ixs) for p in parts.pairs)


def named(e: x.Expr) -> set[str]:
    return x.variables(e)


@pytest.mark.parametrize(("name", "signature"), FORMS)
def test_parts_add_up_to_the_density(name, signature):
    """By each of the two ways, also with arguments held where only that leaves statistics."""
    family = FAMILIES[name]
    found = [exponential(family, signature)]
    if name != "Peak":
        found.append(indexed(family, signature))
    known = [p.given for p in found if isinstance(p, NotExponential) and p.given is not None]
    found += [*known, *(indexed(family, signature, p.fixed) for p in known)]
    for parts in found:
        if isinstance(parts, NotExponential):
            assert parts.reason
            continue
        for world, said in worlds(name, signature):
            assert value(parts, world) == pytest.approx(said, rel=1e-9, abs=1e-9)
        free = {a.name for a in family.signatures[signature].arguments} - set(parts.fixed)
        for p in parts.pairs:
            assert family.x.name in named(p.statistic) and not named(p.statistic) & free
            assert family.x.name not in named(p.natural) and named(p.natural) & free
        assert family.x.name not in named(parts.log_partition)
        assert not named(parts.log_base) & free


def coefficients(parts: Exponential, family, world: World) -> dict[x.Expr, float]:
    """What multiplies each function of x, base measure and all."""
    out: dict[x.Expr, float] = {}
    base = parts.log_base.terms if isinstance(parts.log_base, x.Add) else (parts.log_base,)
    for statistic, weight in [
        *((p.statistic, world.value(p.natural, {})) for p in parts.pairs),
        *((t, float(c)) for c, t in map(x.split_number, base) if family.x.name in named(t)),
    ]:
        out[statistic] = out.get(statistic, 0.0) + weight
    return {t: c for t, c in out.items() if abs(c) > 1e-12}


@pytest.mark.parametrize(("name", "signature"), SCALAR)
def test_the_indexed_algebra_finds_what_sympy_finds(name, signature):
    """The same functions of x, with the same coefficients at random points; or both find none."""
    family = FAMILIES[name]
    theirs = exponential(family, signature)
    ours = indexed(family, signature)
    if isinstance(theirs, NotExponential):
        assert isinstance(ours, NotExponential)
        return
    assert isinstance(ours, Exponential)
    assert {*functions_in(ours)} == {*functions_in(theirs)}
    for world, _ in worlds(name, signature):
        assert coefficients(ours, family, world) == pytest.approx(coefficients(theirs, family, world), rel=1e-9)


NATURAL = {  # as textbooks have them: with the log of x as a statistic, nothing of it is left in the base measure
    "Gamma": {"-rate", "(shape - 1)"},
    "InverseGamma": {"-rate", "(-shape - 1)"},
    "Beta": {"(a - 1)", "(b - 1)"},
    "Dirichlet": {"(concentration[k] - 1)"},
    "Pareto": {"(-a - 1)"},
    "LogNormal": {"mean / sd^2", "-1/2 / sd^2"},  # whose base measure is 1/x
}


@pytest.mark.parametrize("name", NATURAL)
def test_natural_parameters_are_those_of_the_declaration(name):
    """Gamma's were -rate and shape, beside a coefficient `shape - 1` in the step of a posterior."""
    parts = exponential(FAMILIES[name], 0)
    assert {show(p.natural) for p in parts.pairs} == NATURAL[name]
    assert bool(named(parts.log_base)) == (name == "LogNormal")


def test_what_ties_is_named():
    found = exponential(FAMILIES["Kumaraswamy"], 0)
    assert isinstance(found, NotExponential)
    assert found.tie == x.fn("log", x.add(x.ONE, x.neg(x.power(El("x", (), "unit"), El("a", (), "positive")))))
    assert found.given is not None and found.given.fixed == ("a",)
    assert "`m` and x do not come apart" in exponential(FAMILIES["Peak"], 0).reason


def test_a_density_of_too_many_terms_is_left_closed():
    product = "*".join(f"(x + a + {n})^8" for n in range(12))
    family = parse_families(f"family Long(x : positive | a : positive) = -{product}", "long.em")[0]
    found = exponential(family, 0)
    assert isinstance(found, NotExponential)
    u, v = sp.symbols("u v")
    assert length((u + v) ** 3 * (1 + u)) == 16


MODEL = """
model Waves
family Rayleigh(x : positive | s : positive) = log(x) - 2*log(s) - x^2 / (2*s^2)
family Kumaraswamy(x : unit | a : positive, b : positive) = log(a*b*x^(a-1)*(1-x^a)^(b-1))
param s : positive
param a : positive
param m : real[2]
param C : spd[2]
for n in N:
    observed x[n] ~ Rayleigh(s)
    observed y[n] ~ Kumaraswamy(a, 2)
    observed v[n] ~ MvNormal(m, C)
"""


def test_the_derivation_tells_the_families():
    derivation = emdsl.compile(text=MODEL).derivation
    step = next(s for s in derivation.to_dict()["steps"] if s["kind"] == "families")
    assert [(f["family"], f["user"], f["exponential"]) for f in step["families"]] == [
        ("Rayleigh", True, True), ("Kumaraswamy", True, False), ("MvNormal", False, True),
    ]  # fmt: skip
    text = " ".join(str(derivation).split())
    for line in (
        "Rayleigh(s), declared here:", "T(x) = x²", "η = -1 / (2 s²)", "A(η) = 2 log s", "log h(x) = log x",
        "a, b and x do not come apart, in", "log(1 - x^a)", "With a known it is one:",
        "T(x) = x xᵀ, x", "η = -½ cov⁻¹, cov⁻¹ mean", "A(η) = ½ logdet(cov) + ½ meanᵀ cov⁻¹ mean",
    ):  # fmt: skip
        assert line in text, line
    for shown in (derivation.to_latex(), derivation.to_html(), derivation.to_markdown()):
        assert "Rayleigh(s)" in shown
