"""The equations that are shown, against what the generated module computes: at the M-step's result each one holds.

The equations are sympy's, evaluated by walking them; the statistics are those of the generated E-step, with
reference points at the origin, so that both sides speak of the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zlib import crc32

import numpy as np
import pytest
import sympy as sp
from cases import Case, far
from gallery import written
from test_unusual import CASES
from trees import FUNCTIONS, called, defined, free, nodes, value

from emdsl.derive.joint.coefficients import axes_of
from emdsl.derive.updates.rules import Numeric
from emdsl.fit.fitter import DegenerateError
from emdsl.report.equations import readable, update_equation
from emdsl.report.symbolic import spelt, symbolic

pytestmark = pytest.mark.filterwarnings("ignore")


class Numbers:
    """Values of sympy expressions in arrays by name; sizes are among them."""

    def __init__(self, arrays: Mapping[str, Any]) -> None:
        self.arrays = dict(arrays)

    def of(self, e: Any, at: Mapping[Any, int]) -> Any:
        if e in at:
            return at[e]
        if isinstance(e, sp.Symbol):
            return float(np.asarray(self.arrays[e.name]))
        if isinstance(e, sp.Indexed):
            return float(self.arrays[e.base.label.name][tuple(int(self.of(i, at)) for i in e.indices)])
        if isinstance(e, sp.Sum):
            return self.total(e.function, list(reversed(e.limits)), at)
        if isinstance(e, sp.Piecewise):
            return next(self.of(v, at) for v, c in e.args if self.of(c, at))
        if isinstance(e, sp.core.function.AppliedUndef):
            return self.matrix(e, at)
        if isinstance(e, sp.And | sp.Or | sp.Not) or not e.args:
            parts = [bool(self.of(a, at)) for a in e.args]
            return e.func(*map(sp.sympify, parts)) if parts else e
        return e.func(*(self.of(a, at) for a in e.args))

    def total(self, body: Any, limits: Any, at: Mapping[Any, int]) -> float:
        if not limits:
            return float(sp.N(self.of(body, at)))
        (index, low, high), *rest = limits
        span = range(int(self.of(low, at)), int(self.of(high, at)) + 1)
        return sum(self.total(body, rest, {**at, index: i}) for i in span)

    def matrix(self, e: Any, at: Mapping[Any, int]) -> float:
        """`inv` and `logdet` of a matrix given by its element."""
        (i, j), body = e.args[0].variables, e.args[0].expr
        element = next(a for a in body.atoms(sp.Indexed) if i in a.indices)
        n = self.arrays[element.base.label.name].shape[element.indices.index(i)]
        dense = np.array([[float(sp.N(self.of(body, {**at, i: a, j: b}))) for b in range(n)] for a in range(n)])
        if e.func.__name__ == "logdet":
            return float(np.linalg.slogdet(dense)[1])
        row, column = (int(self.of(k, at)) for k in e.args[1:])
        return float(np.linalg.inv(dense)[row, column])


def halves(case: Case, noise: float = 0.0) -> Any:
    """The compiled model, statistics at the truth about the origin, the parameters before and after, the data.

    noise : by how much of itself each statistic is another than data and posteriors leave it.
    """
    model = written(case.text)
    data, truth = case.make(np.random.default_rng(crc32(case.name.encode())))
    given = {k: v for k, v in data.items() if k != case.weight}
    if max(float(np.max(np.abs(np.asarray(v)), initial=0)) for v in truth.values()) > 1e6:
        pytest.skip("statistics about the origin, which the shown equations are in, have no digits left so far away")
    estimator = model.fitter(**case.options_sizes())
    before = {n: np.asarray(v, float) for n, v in truth.items()}
    estimator.e_step(before, given)
    estimator._reference = {n: np.zeros_like(v) for n, v in (estimator._reference or {}).items()}
    statistics = estimator.e_step(before, given)
    rng = np.random.default_rng(7)
    statistics = {n: v * (1 + noise * rng.uniform(-1, 1) * (n != "log_likelihood")) for n, v in statistics.items()}
    return model, statistics, before, estimator.m_step(statistics), estimator._bind(given, before)


def residual(equation: Any, numbers: Numbers, at: Mapping[Any, int]) -> float:
    if isinstance(equation, sp.Or):
        return min(residual(e, numbers, at) for e in equation.args)
    left, right = (complex(sp.N(numbers.of(side, at))) for side in (equation.lhs, equation.rhs))
    parts = [abs(complex(sp.N(numbers.of(t, at)))) for side in equation.args for t in sp.Add.make_args(side)]
    return abs(left - right) / (1 + sum(parts))


NEAR = [case for case in CASES if case.name not in {c.name for c in far.CASES}]


@pytest.mark.parametrize("case", NEAR[::3], ids=lambda c: c.name)
def test_equations_hold_after_an_m_step(case: Case) -> None:
    model, statistics, before, after, bound = halves(case)
    plan = readable(model.derived)
    arrays = {n: np.asarray(v) for n, v in {**bound.values, **bound.sizes, **before}.items()}
    arrays |= {n: np.asarray(v) for n, v in plan.joint.tables.items()}
    for name in plan.centred:
        variable = plan.joint.model.variable(name)
        arrays[spelt(f"reference:{name}")] = np.zeros([d.value(bound.sizes) for d in variable.domain.dims])
    arrays |= {spelt(f"S:{n}"): np.asarray(v) for n, v in statistics.items() if n != "log_likelihood"}
    checked = 0
    for update in plan.updates:
        arrays |= {n: after[n] for n in update.params}
        if isinstance(update.rule, Numeric) and update.rule.data:
            continue
        for name in update.params:
            checked += hold(model, name, Numbers(arrays), arrays[name])
    if not checked:
        pytest.skip("no equation without data")


def hold(model: Any, name: str, numbers: Numbers, value: Any) -> int:
    """The equation of one parameter holds at each element; those at a boundary have none."""
    variable = model.resolved.variable(name)
    equation = update_equation(next(u for u in model.derived.updates if name in u.params), name, model.derived)
    names = symbolic(model.resolved).letters.extend({}, axes_of(variable))
    symbols = [sp.Symbol(n, integer=True, nonnegative=True) for n in names.values()]
    exact = model.updates[name].kind in ("closed form", "linear solve")
    wanted = 1e-8 if exact else 1e-4
    if (
        variable.domain.lower is not None
        or variable.domain.upper is not None
        or (variable.domain.kind in COUPLED and not exact)
    ):
        return 0
    for at in np.ndindex(np.shape(value)):
        found = residual(equation, numbers, dict(zip(symbols, at, strict=True)))
        assert found < wanted, (name, at, found, equation)
    return 1


COUPLED = {"simplex", "spd", "ordered", "correlation", "zero_sum"}  # a gradient need not vanish where elements are tied


def known(t: Any, at: Any) -> bool:
    """Whether all that an equation holds has a value: no multiplier, no mean, no statistic of a model told more."""
    held = [p for p in nodes(t) if p["kind"] in ("name", "statistic", "mean", "word")]
    bound = {i["text"] for p in nodes(t) if p["kind"] == "big" for i, _ in p["indices"]}
    places = {i["text"] for p in nodes(t) if p["kind"] == "at" for i in p["places"] if i["kind"] == "name"}
    values = {*at, *at["letters"], *bound, *places, *FUNCTIONS, "T", "pi"}
    return all(called(p) in values for p in held if p["kind"] != "mean") and all(p["kind"] != "mean" for p in held)


def differences(t: Any, at: Any) -> list[float]:
    """By how much of itself the left side is another number than the right one, at each place."""
    over = dict(free(t, at))
    out = []
    for place in np.ndindex(*over.values()):
        a, b = (np.squeeze(value(t[side], at | dict(zip(over, place, strict=True)))) for side in ("left", "right"))
        out.append(float(np.max(np.abs(a - b) / (1e-2 + np.abs(b)))))
    return out


@pytest.mark.parametrize("case", NEAR[1::4], ids=lambda c: c.name)
def test_updates_in_json_are_the_modules_whatever_the_statistics_are(case: Case) -> None:
    """The trees of the equations that the code computes, at statistics that no data leave, beside its own results."""
    try:
        model, statistics, _, after, bound = halves(case, noise=1e-5)
    except DegenerateError:
        pytest.skip("no maximum at statistics that no data leave")
    told = model.derivation.to_dict()["steps"]
    steps = [s for s in told if s.get("kind") == "update"]
    both = [
        e["tree"] for s in told if s.get("kind") == "statistics" for e in s["lines"] if "tree" in e and "name" not in e
    ]
    at = {n: np.asarray(v) for n, v in {**bound.values, **bound.sizes, **after}.items()}
    at |= {n: np.asarray(v) for n, v in model.derived.joint.tables.items()}
    at |= {f"S {n}": np.asarray(v) for n, v in statistics.items() if n != "log_likelihood"}
    checked = 0
    for step in (s for s in steps if s["update"] in ("closed form", "linear solve") and not s["conditional_on"]):
        trees = [line["tree"] for line in step["lines"] if line.get("tree", {}).get("kind") == "relation"]
        letters = {f"S {name}": meant for t in reversed(both) for name, meant in [defined(t)]}
        letters |= {n: meant for t in trees for n, meant in [defined(t)] if len(n) == 1 and n not in at}  # for short
        here = {**at, "letters": letters}
        shown = [(line["name"], line["tree"]) for line in step["lines"] if "name" in line]
        for name in dict(shown):
            own = [t for n, t in shown if n == name and t["op"] == "=" and t["left"]["kind"] != "slope"]
            if own and all(known(t, here) for t in own):
                off = [np.max(differences(t, here)) for t in own]
                one_of = len(own) > 1 and own[0]["left"] == own[1]["left"]  # several roots
                assert (min if one_of else max)(off) < 1e-7, (name, off)
                checked += 1
    if not checked:
        pytest.skip("no closed form")
