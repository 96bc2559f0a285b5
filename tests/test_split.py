"""The exponential-family structure that sympy finds in declared densities, against the densities themselves."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

import emdsl
from emdsl.families import PRELUDE
from emdsl.families.density import expression_log_density
from emdsl.families.drawing import draw
from emdsl.families.normalised import check_families, check_normalised, random_arguments
from emdsl.families.numeric import tabulate
from emdsl.families.split import Exponential, split
from emdsl.language import parse_families

USERS = """
family Rayleigh(x : positive | s : positive) = log(x) - 2*log(s) - x^2 / (2*s^2)
family Maxwell(x : positive | a : positive) = log(x^2 * exp(-x^2/(2*a^2)) / a^3 * sqrt(2/pi))
family Kumaraswamy(x : unit | a : positive, b : positive) = log(a*b*x^(a-1)*(1-x^a)^(b-1))
family Zeta2(x : count | a : unit) = log(1 - a) + x*log(a)
family Cauchy(x : real | m : real, s : positive) = -log(pi*s) - log(1 + ((x-m)/s)^2)
family Triangle(x : unit | c : unit) = log(2) + (log(x/c) if x < c else log((1 - x)/(1 - c)))
family Yule(x : count(min = 1) | r : positive) = log(r) + lgamma(x) + lgamma(r + 1) - lgamma(x + r + 1)
family Pareto(x : real(min = 1) | a : positive) = log(a) - (a + 1)*log(x)
family Trinomial(x : category[3] | p : unit) = log([p^2, 2*p*(1-p), (1-p)^2][x])
"""
OWN = {f.name: f for f in parse_families(USERS, "users.em")}
FAMILIES = {**PRELUDE(), **OWN}
SCALAR = [(n, k) for n, f in FAMILIES.items() if not f.x.domain.dims for k in range(len(f.signatures))]

# What is found, statistic by statistic; None: no finite statistics; a prefix: with these arguments known.
FOUND = {
    "Bernoulli": "x", "Binomial": "trials known: x", "Categorical": "KroneckerDelta(k, x)", "Poisson": "x",
    "Geometric": "x",
    "NegativeBinomial": "size known: x", "Normal": "x, x**2", "Laplace": "mean known: Abs(mean - x)", "StudentT": None,
    "VonMises": "sin(x), cos(x)", "Uniform": None, "Delta": None, "LogNormal": "log(x), log(x)**2", "Exponential": "x",
    "Gamma": "x, log(x)", "InverseGamma": "1/x, log(x)", "Weibull": "shape known: x**shape",
    "InverseGaussian": "x, 1/x",
    "Beta": "log(x), log(1 - x)", "Rayleigh": "x**2", "Maxwell": "x**2", "Kumaraswamy": "a known: log(1 - x**a)",
    "Zeta2": "x",
    "Yule": None, "Cauchy": None, "Triangle": None, "Pareto": "log(x)", "Trinomial": "KroneckerDelta(k, x)",
}  # fmt: skip


def found(name: str, signature: int) -> tuple[Exponential | None, str | None]:
    """The decomposition and how FOUND writes it."""
    family = FAMILIES[name]
    parts = split(family, signature)
    prefix = ""
    if not isinstance(parts, Exponential):
        assert parts.reason
        if not parts.fixed:
            return None, None
        prefix = f"{', '.join(parts.fixed[0])} known: "
        parts = split(family, signature, parts.fixed[0])
    assert isinstance(parts, Exponential)
    return parts, prefix + ", ".join(sp.sstr(t) for t in parts.statistics)


@pytest.mark.parametrize(("name", "signature"), SCALAR)
def test_what_is_found(name, signature):
    assert found(name, signature)[1] == FOUND[name]


@pytest.mark.parametrize(("name", "signature"), SCALAR)
def test_parts_add_up_to_the_density(name, signature):
    family, (parts, _) = FAMILIES[name], found(name, signature)
    if parts is None or family.x.domain.kind == "category":
        return
    rng = np.random.default_rng(signature)
    rows = 5
    args = random_arguments(family, signature, {}, rng, rows)
    x = draw(family, signature, rng, (rows,), list(args.values()), ())
    said = expression_log_density(family, signature, x, list(args.values()))
    whole = (
        sum(t * e for t, e in zip(parts.statistics, parts.natural, strict=True)) - parts.log_partition + parts.log_base
    )
    for k in range(rows):
        at = {s: args[str(s)][k] if str(s) in args else x[k] for s in whole.free_symbols}
        assert float(whole.subs(at).evalf()) == pytest.approx(said[k], rel=1e-9, abs=1e-9)
    free = {a.name for a in family.signatures[signature].arguments} - set(parts.fixed)
    for t, e in zip(parts.statistics, parts.natural, strict=True):
        assert not {str(s) for s in t.free_symbols} & free
        assert parts.x not in e.free_symbols


@pytest.mark.parametrize("name", [n for n, f in FAMILIES.items() if n in OWN])
def test_a_users_family_is_checked_and_drawn_from(name):
    family = OWN[name]
    assert check_normalised(family) is None
    rng = np.random.default_rng(1)
    args = [v[:1] for v in random_arguments(family, 0, {}, rng).values()]
    n = 40_000
    x = draw(family, 0, rng, (n,), args, ())
    table = tabulate(family, 0, args, 1)
    assert table.mass.sum() == pytest.approx(1, abs=1e-3)
    points, heads = (table.x[0], table.mass[0].cumsum()) if table.whole else (table.x[0][1:], table.mass[0].cumsum())
    for q in np.quantile(x, [0.1, 0.5, 0.9]):
        below = heads[points <= q][-1] if table.whole else np.interp(q, points, heads)
        assert (x <= q).mean() == pytest.approx(below, abs=5 * np.sqrt(0.25 / n) + 1e-3)


@pytest.mark.parametrize(
    "text",
    [
        "family R(x : positive | s : positive) = log(x) - log(s) - x^2 / (2*s^2)",
        "family H(x : real | s : positive) = -log(s) + log(2/pi)/2 - x^2/(2*s^2)",
        "family P(x : count | r : positive) = x*log(r) - r",
        "family C(x : category[3] | p : unit) = log(p)",
        "family V(x : real[2] | s : positive) = -sum(x[i]^2 for i in 2)/(2*s) - log(s)",
        "family L(x : real | a : real) = a * x",  # whose tails have no end
        "family S(x : positive | a : real) = sin(a * x)",
    ],
)
def test_a_density_that_does_not_integrate_to_one_is_found(text):
    family = parse_families(text, "users.em")[0]
    problem = check_normalised(family)
    assert problem is not None
    assert problem.code == "E090"
    assert family.name in problem.message


def test_a_declared_normal_cut_at_0_is_told() -> None:
    """Its normaliser opened has an error function: the derivation ended in an internal error."""
    density = "-log(s) - 0.5*log(2*pi) - (x-m)^2 / (2*s^2) - log(Phi(m/s))"
    family = f"family Cut(x : positive | m : real, s : positive) = {density}\n"
    rest = "param m : real\nparam s : positive\nfor n in N: observed x[n] ~ Cut(m, s)"
    assert "Phi" in str(emdsl.compile(text=f"model M\n{family}{rest}").derivation)


def test_arguments_that_pass_one_another_are_no_alarm():
    text = "family Box(x : real(min = a, max = b) | a : real, b : real) = -log(b - a)"
    assert check_normalised(parse_families(text, "users.em")[0]) is None
    wrong = parse_families(text.replace("-log(b - a)", "-log(b - a) - 1"), "users.em")
    assert check_normalised(wrong[0]) is not None
    assert check_families(PRELUDE().values()) == ()
