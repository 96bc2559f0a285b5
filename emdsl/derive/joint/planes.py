"""Regressions far from the origin: `y - X b` is written `(y - X r) - X (b - r)` with a fixed r.

The reference r is a least-squares fit made once, when data are bound; the identity is exact for every r, so
new data keep it. Both differences are of the size of the residuals, and squares of them lose no digits.
The form of every factor stays: only what is stored as `y`, and what is held as `b`, is measured from elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr
from emdsl.derive.joint.centre import Shift, axes_of, reference
from emdsl.derive.joint.factors import LogJoint
from emdsl.language import model as m


@dataclass(frozen=True)
class Plane:
    """`data[n]` is stored less `design[n] @ reference`, and `param[..., :]` is held less `reference`.

    `slots` are the axes of the parameter that the reference has: that of the design, and for vectors theirs. A design
    without rows (`A @ m`) is the same for each: `data[n]` is stored less `design @ reference`.
    """

    data: str
    design: str
    param: str
    slots: tuple[int, ...]
    rows: bool = True


def planes(joint: LogJoint, taken: Iterable[str]) -> tuple[Plane, ...]:
    """The observed data that stand only in `y - X b + ...`, with an X that is given and a b of theirs alone."""
    variables = {v.name: v for v in joint.model.variables}
    everywhere: Counter[str] = Counter()
    found: dict[Plane, Counter[str]] = {}
    for f in joint.factors:
        for e in (f.body, *f.gates):
            for node in x.walk(e):
                if isinstance(node, El):
                    everywhere[node.var] += 1
                plane = _plane(node, variables) if isinstance(node, x.Add) and f.role == "observed" else None
                if plane is not None:
                    found.setdefault(plane, Counter()).update((plane.data, plane.param))
    used = set(taken)
    out = []
    for plane, count in found.items():
        alone = all(count[n] == everywhere[n] for n in (plane.data, plane.param))
        if alone and not used & {plane.data, plane.design, plane.param}:
            out.append(plane)
            used |= {plane.data, plane.param}
    return tuple(out)


def plane_shift(plane: Plane, joint: LogJoint) -> Shift:
    """What the parameter is measured from: one vector or matrix, the same for all of its copies."""
    axes = axes_of(joint.model.variable(plane.param))
    return Shift(plane.param, axes, El(reference(plane.param), tuple(axes[n] for n in plane.slots)))


def _plane(node: x.Add, variables: Mapping[str, m.Variable]) -> Plane | None:
    parts = [x.split_number(t) for t in node.terms]
    data = [(c, e) for c, e in parts if isinstance(e, El) and _is_real_data(e, variables)]
    if len(data) != 1 or abs(data[0][0]) != 1:
        return None
    sign, y = data[0]
    products = [p for c, e in parts if c == -sign and (p := _product(e, y, variables)) is not None]
    if len(products) != 1:
        return None
    names = [n for _, e in parts for leaf in x.walk(e) if isinstance(leaf, El) for n in (leaf.var,)]
    return products[0] if names.count(y.var) == names.count(products[0].param) == 1 else None


def _is_real_data(e: El, variables: Mapping[str, m.Variable]) -> bool:
    """An observed scalar or vector on the line."""
    v = variables.get(e.var)
    return (
        v is not None and v.kind == "observed" and v.domain.kind == "real" and bool(v.plates) and len(v.domain.dims) < 2
    )


def _product(e: Expr, y: El, variables: Mapping[str, m.Variable]) -> Plane | None:
    """The plane where e is `sum_p X[n, p] b[..., p]`, the rows of X those of y, or `sum_p A[d, p] b[..., p]`."""
    factors = x.factors_of(e.body) if isinstance(e, x.Sum) else ()
    if not isinstance(e, x.Sum) or len(factors) != 2 or not all(isinstance(f, El) for f in factors):
        return None
    event = y.idx[len(y.idx) - len(variables[y.var].domain.dims) :]
    row = y.idx[: len(y.idx) - len(event)]
    for design, param in (factors, factors[::-1]):
        assert isinstance(design, El) and isinstance(param, El)
        X, b = variables.get(design.var), variables.get(param.var)
        if X is None or b is None or X.kind != "given" or b.kind != "param" or b.distribution is not None:
            continue
        if b.domain.kind != "real" or b.domain.lower is not None or b.domain.upper is not None:
            continue
        rows = bool(X.plates)
        slots = (e.ix, *event) if rows else (e.ix,)
        if design.idx == (*(row if rows else event), e.ix) and all(param.idx.count(i) == 1 for i in slots):
            return Plane(y.var, design.var, param.var, tuple(param.idx.index(i) for i in slots), rows)
    return None
