"""Designs with a column of ones beside columns far from the origin: `X b` is written `(X T) (T^-1 b)`.

    X = [1, x]:     1 b_0 + x b_1  =  1 (b_0 + r b_1) + (x - r) b_1

T = I + U is made once, when data are bound: U holds what each other column is measured from, in the row of the
constant one (or of indicators of groups, that add up to it), so that U U = 0 and T^-1 = I - U. The form of every factor
stays: only what is stored as X, and what is held as b, is measured from elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr
from emdsl.derive.algebra.made import MIXING
from emdsl.derive.joint.centre import Shift, axes_of
from emdsl.derive.joint.factors import LogJoint
from emdsl.language import model as m


@dataclass(frozen=True)
class Design:
    """A given vector of each row, and the parameters that it multiplies, each with the axis on which it does."""

    data: str
    params: tuple[tuple[str, int], ...]


def designs(joint: LogJoint, taken: Iterable[str]) -> tuple[Design, ...]:
    """The given vectors, none in `taken`, that stand in products with parameters alone, and these nowhere else."""
    variables = {v.name: v for v in joint.model.variables}
    everywhere: Counter[str] = Counter()
    inside: Counter[str] = Counter()
    found: dict[str, dict[tuple[str, int], None]] = {}
    for f in joint.factors:
        for node in (n for e in (f.body, *f.gates, *f.masks) for n in x.walk(e)):
            if isinstance(node, El):
                everywhere[node.var] += 1
            product = _product(node, variables) if isinstance(node, x.Sum) else None
            if product is not None:
                data, param, slot = product
                found.setdefault(data, {})[param, slot] = None
                inside.update((data, param))
    out = []
    for data, params in found.items():
        names = [data, *(n for n, _ in params)]
        alone = all(inside[n] == everywhere[n] for n in names) and len(set(names)) == len(names)
        others = {n for d, some in found.items() if d != data for n, _ in some}
        if alone and not set(names) & {*taken, *others}:
            out.append(Design(data, tuple(params)))
    return tuple(out)


def _product(node: x.Sum, variables: Mapping[str, m.Variable]) -> tuple[str, str, int] | None:
    """(data, parameter, axis) of `sum_p X[n, p] b[..., p]`, whatever else multiplies it."""
    held = [f for f in x.factors_of(node.body) if node.ix in x.free(f)]
    if len(held) != 2:
        return None
    for design, param in (held, held[::-1]):
        if not isinstance(design, El) or not isinstance(param, El):
            return None
        X, b = variables.get(design.var), variables.get(param.var)
        if X is None or b is None or X.kind != "given" or b.kind != "param":
            continue
        vector = bool(X.plates) and len(X.domain.dims) == 1 and not X.array and X.domain.interval
        free = b.domain.unbounded and b.distribution is None
        once = design.idx.count(node.ix) == param.idx.count(node.ix) == 1 and design.idx[-1] == node.ix
        if vector and free and once and len(param.idx) == len(b.shape):
            return design.var, param.var, param.idx.index(node.ix)
    return None


def design_shifts(design: Design, joint: LogJoint) -> Iterator[Shift]:
    """b = b' + U b', on the axis that meets the design."""
    for name, slot in design.params:
        axes = axes_of(joint.model.variable(name))
        q = x.fresh(axes[slot].dim)
        held = El(name, tuple(q if n == slot else i for n, i in enumerate(axes)), "real")
        yield Shift(name, axes, x.total(q, x.mul(El(MIXING.of(design.data), (axes[slot], q)), held)))


def unmixed(value: Expr) -> Expr:
    """What a shift is for the elements that its own U reads: these are not measured from others, as U U = 0."""
    return x.rebuild(value, lambda e: x.ZERO if isinstance(e, El) and e.var in MIXING else None)
