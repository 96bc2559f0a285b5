"""Where a derivation says that Q is concave, what it is the mean of lies above its chords; and how that is told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from algebra import World
from gallery import told
from test_theorem import planned, point, world

import emdsl
from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Ix
from emdsl.derive.algebra.scalars import direction
from emdsl.report.concave import Bends, Shape, concave_by
from emdsl.report.equations import readable

BENT = {  # the parameters of a numeric update or of a system, and what is told of them
    ("beta_mixture", "a"): "the log of a Dirichlet's normaliser is convex, and subtracted",
    ("student_free_df", "df"): "log Γ(a) - a log a is convex, and subtracted",
    ("input_output_hmm", "change"): "a square and the log of a sum of exponentials are convex",
    ("item_response", "slope"): "softplus is convex, and subtracted",
    ("factor_analysis", "load"): "subtracts squares of what is linear in mean, load: it is concave",
    ("von_mises_mixture", "concentration"): "log I₀ is convex, and subtracted",
}


@pytest.mark.parametrize(("name", "parameter"), BENT)
def test_chords_lie_below(name: str, parameter: str) -> None:
    plan = readable(planned(name))
    update = next(u for u in plan.updates if parameter in u.params)
    assert BENT[name, parameter] in " ".join(str(told(name)).split()) and concave_by(plan, update) is not None
    w, rng = world(plan, point(name, False)), np.random.default_rng(2)
    held = [f for f in plan.joint.factors if x.variables(f.body) & {*update.params}]
    ends: list[dict[str, Any]] = []
    for _ in range(2):
        moved = {n: rng.normal(size=w.arrays[n].shape) for n in update.params}
        positive = {n for n in moved if plan.joint.model.variable(n).domain.kind == "positive"}
        ends.append({n: np.exp(v) if n in positive else v for n, v in moved.items()})
    middle = {n: (ends[0][n] + ends[1][n]) / 2 for n in update.params}
    for factor in held:
        free = x.free(factor.body)
        for _ in range(3):
            at = {i: int(rng.integers(w.lengths[i.dim])) for i in free}
            values = []
            for here in (*ends, middle):
                w.arrays.update(here)
                values.append(w.value(factor.body, at))
            assert values[2] >= (values[0] + values[1]) / 2 - 1e-9 * (1 + abs(values[2])), factor.about


def test_a_cosine_is_greatest_at_an_angle() -> None:
    """Of all turns of a circle; positive factors turn nothing, and what holds the number elsewhere has no such root."""
    v, k, c, s = El("v", ()), El("k", (), "positive"), El("c", ()), El("s", ())
    cos, sin = x.fn("cos", v), x.fn("sin", v)
    found = direction(v, (sin, cos), (x.mul(k, s), x.mul(k, c)))
    assert found is not None and "k" not in x.variables(found.value) and found.curvature is not None
    turns = np.linspace(-np.pi, np.pi, 721)
    for here in ((1.0, 2.0), (-1.0, 0.5), (-0.3, -2.0)):
        w = World({}, {"k": np.array(1.7), "c": np.array(here[0]), "s": np.array(here[1])})
        best = turns[np.argmax(here[0] * np.cos(turns) + here[1] * np.sin(turns))]
        assert abs(w.value(found.value, {}) - best) < 0.01
        np.testing.assert_allclose(w.value(found.curvature, {}), -1.7 * np.hypot(*here))
    assert direction(v, (sin, cos, v), (s, c, k)) is None and direction(v, (cos,), (c,)) is None


def test_what_the_rules_do_not_see_is_not_said() -> None:
    a, b, n = El("a", (), "positive"), El("b", (), "real"), Ix("n", "N")
    bends = Bends(frozenset("ab"), {"y": "real", "c": "count"}, {})

    def of(e: x.Expr) -> Shape:
        return bends.of(e)

    y, c = El("y", (n,)), El("c", (n,))
    exp = x.fn("exp", x.add(b, y))
    assert of(x.mul(x.num(-1), c, exp)) is Shape.CONCAVE and of(x.mul(x.num(-1), y, exp)) is Shape.UNKNOWN
    assert of(x.mul(x.num(-1), a, exp)) is Shape.UNKNOWN  # a product of two
    assert of(x.fn("cos", b)) is Shape.UNKNOWN and of(x.mul(y, b)) is Shape.LINEAR
    assert of(x.mul(x.num(-1), x.power(x.add(y, x.neg(b)), x.num(2)))) is Shape.CONCAVE
    assert of(x.mul(a, x.power(x.add(y, x.neg(b)), x.num(2)))) is Shape.UNKNOWN
    assert of(x.add(x.fn("lgamma", x.add(a, x.ONE)), x.neg(x.fn("lgamma", a)))) is Shape.UNKNOWN
    assert of(x.power(b, x.num(-1))) is Shape.UNKNOWN and of(x.power(a, x.num(-1))) is Shape.CONVEX
    decay = "model M\nparam k : real\nfor n in N:\n    given t[n] : real\n    observed y[n] ~ Normal(exp(k * t[n]), 1)"
    assert "is not known to be concave in k" in " ".join(str(emdsl.compile(text=decay).derivation).split())
