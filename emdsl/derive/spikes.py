"""Continuous latents with a point mass in a branch: `latent b[n] ~ Normal(m, s) if on[n] else Delta(0)`.

    f(b)  =  [on] f(u) + [not on] f(0),      u ~ Normal(m, s) if on, else from a density that holds nothing

Where b is read, its branch is taken: no u stands in a branch that has a point. There u has a density of its own that
holds no parameter and integrates to 1, so that nothing of it is left in any likelihood or statistic. What is told of b
are moments of the right-hand side.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from fractions import Fraction

from emdsl.derive import expr as x
from emdsl.derive.expr import Expr
from emdsl.language import model as m

Conditions = tuple[tuple[m.Expr, bool], ...]


def leaves(d: m.Dist | None, conds: Conditions = ()) -> Iterator[tuple[Conditions, m.FamilyCall]]:
    """The families of a distribution, each with the conditions that lead to it."""
    if isinstance(d, m.FamilyCall):
        yield conds, d
    elif d is not None:
        yield from leaves(d.then, (*conds, (d.cond, True)))
        yield from leaves(d.other, (*conds, (d.cond, False)))


def is_point_mass(family: m.Family) -> bool:
    """A family whose log density is `log(x == value)`."""
    d = family.signatures[0].log_density
    return isinstance(d, m.Call) and d.fn == "log" and isinstance(d.args[0], m.Call) and d.args[0].fn == "eq"


def with_spikes(model: m.ModelText, discrete: Collection[str]) -> frozenset[str]:
    """The continuous latents that a discrete one sends to a point mass or to a density."""
    out = set()
    for v in model.of_kind("latent"):
        free = v.domain.kind in ("real", "positive", "unit") and v.domain.lower is None and v.domain.upper is None
        found = list(leaves(v.distribution))
        points = [conds for conds, call in found if is_point_mass(call.family)]
        read = {e.name for conds in points for c, _ in conds for e in m.walk(c) if isinstance(e, m.Var)}
        if free and not v.array and 0 < len(points) < len(found) and read & set(discrete):
            out.add(v.name)
    return frozenset(out)


def reading(d: m.Dist, density: Callable[[], Expr], value: Callable[[m.Expr], Expr]) -> Expr:
    """What a latent is in each branch: itself where it has a density, else the point."""
    if isinstance(d, m.FamilyCall):
        return value(d.args[0][1]) if is_point_mass(d.family) else density()
    return x.where(value(d.cond), lambda: reading(d.then, density, value), lambda: reading(d.other, density, value))


def of_its_own(v: m.Variable, value: Expr) -> Expr:
    """A log density that holds no parameter, over the domain of a latent."""
    if v.domain.kind == "unit":
        return x.ZERO
    if v.domain.kind == "positive":
        return x.neg(value)
    two_pi = x.add(x.fn("log", x.num(2)), x.fn("log", x.Fn("pi", ())))
    return x.mul(x.Num(Fraction(-1, 2)), x.add(x.power(value, x.num(2)), two_pi))
