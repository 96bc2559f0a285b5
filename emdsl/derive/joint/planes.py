"""Regressions far from the origin: `y - X b` is written `(y - X r) - X (b - r)` with a fixed r.

The reference r is a least-squares fit made once, when data are bound; the identity is exact for every r, so
new data keep it. Both differences are of the size of the residuals, and squares of them lose no digits.
The form of every factor stays: only what is stored as `y`, and what is held as `b`, is measured from elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr
from emdsl.derive.joint.centre import Shift, axes_of, free_location, reference
from emdsl.derive.joint.factors import LogJoint
from emdsl.derive.joint.ranges import EVERYWHERE, range_of
from emdsl.language import model as m

Variables = Mapping[str, m.Variable]


@dataclass(frozen=True)
class Plane:
    """`data[n]` is stored less `design[n] @ reference`, and `param[..., :]` is held less `reference`.

    `slots` are the axes of the parameter that the reference has: that of the design, and for vectors theirs; a design
    of one number for each row has none. A design without rows (`A @ m`) is the same for each: `data[n]` is stored less
    `design @ reference`. Where the coefficient is latent, `mean` is the parameter that moves with it, and the same axes
    of that. Several planes of the same data are fitted together.
    """

    data: str
    design: str
    param: str
    slots: tuple[int, ...]
    rows: bool = True
    mean: tuple[str, tuple[int, ...]] | None = None
    column: bool = False  # the design is one number for each row


def planes(joint: LogJoint, taken: Iterable[str], drawn: bool = False) -> tuple[Plane, ...]:
    """The observed data that stand only in `y - X b + ...`, with an X that is given and a b of theirs alone.

    A latent b may stand in differences from its own mean besides; where some latents are `drawn`, none does.
    """
    variables = {v.name: v for v in joint.model.variables}
    everywhere: Counter[str] = Counter()
    found: dict[Plane, Counter[str]] = {}
    for node in _nodes(joint):
        if isinstance(node, El):
            everywhere[node.var] += 1
    for f in joint.factors:
        for node in (n for e in (f.body, *f.gates) for n in x.walk(e) if f.role == "observed"):
            for plane in _planes(node, variables) if isinstance(node, x.Add) else ():
                found.setdefault(plane, Counter()).update((plane.data, plane.param))
    used, out = set(taken), list[Plane]()
    for plane, count in found.items():
        whole: Plane | None = plane
        if variables[plane.param].kind == "latent":
            hidden = drawn or plane.param in {*joint.discrete, *joint.deterministic, *joint.incomplete, *joint.told}
            whole = None if hidden else _with_mean(plane, joint, variables, everywhere, count)
        alone = all(count[n] == everywhere[n] for n in (plane.data, plane.param))
        own = {p.data for p in out if p.data == plane.data}
        names = {plane.data, plane.design, plane.param, *((whole.mean[0],) if whole and whole.mean else ())}
        if whole is not None and alone and not used & (names - own):
            out.append(whole)
            used |= names - {plane.design}
    return tuple(out)


def _nodes(joint: LogJoint) -> Iterator[Expr]:
    return (n for f in joint.factors for e in (f.body, *f.gates) for n in x.walk(e))


def _with_mean(
    plane: Plane, joint: LogJoint, variables: Variables, everywhere: Counter[str], count: Counter[str]
) -> Plane | None:
    """The plane of a latent coefficient with what it lies about; None where that is no parameter of its own.

    What stands of the coefficient in `b - m` is added to its `count`.
    """
    means: Counter[tuple[str, tuple[int, ...]]] = Counter()
    for node in _nodes(joint):
        parts = [x.split_number(t) for t in node.terms] if isinstance(node, x.Add) else []
        own = [(c, e) for c, e in parts if isinstance(e, El) and e.var == plane.param and abs(c) == 1]
        if len(own) != 1:
            continue
        sign, b = own[0]
        places = [e for c, e in parts if c == -sign and free_location(e, variables)]
        moved = [b.idx[n] for n in plane.slots]
        for place in places[:1]:
            assert isinstance(place, El)
            if all(place.idx.count(i) == 1 for i in moved):
                means[place.var, tuple(place.idx.index(i) for i in moved)] += 1
                count[plane.param] += 1
    if len(means) != 1:
        return None
    ((mean, times),) = means.items()
    v = variables[mean[0]]
    fits = times == everywhere[mean[0]] and v.distribution is None and v.domain.kind == "real"
    return replace(plane, mean=mean) if fits else None


def plane_shifts(plane: Plane, joint: LogJoint) -> dict[str, Shift]:
    """What the coefficient, and the mean of a latent one, is measured from: the same for all copies of it."""
    out = {}
    for name, slots in ((plane.param, plane.slots), *((plane.mean,) if plane.mean else ())):
        axes = axes_of(joint.model.variable(name))
        out[name] = Shift(name, axes, El(reference(plane.param), tuple(axes[n] for n in slots)))
    return out


def _planes(node: x.Add, variables: Variables) -> Iterator[Plane]:
    """The planes in `y - X b - Z c + ...`: each coefficient stands once in it, and so does y."""
    parts = [x.split_number(t) for t in node.terms]
    data = [(c, e) for c, e in parts if isinstance(e, El) and _is_real_data(e, variables)]
    if len(data) != 1 or abs(data[0][0]) != 1:
        return
    sign, y = data[0]
    names = Counter(leaf.var for _, e in parts for leaf in x.walk(e) if isinstance(leaf, El))
    products = (p for c, e in parts if c == -sign and (p := _product(e, y, variables)) is not None)
    single = [p for p in products if names[y.var] == names[p.param] == 1]
    yield from single if all(p.rows for p in single) or len(single) == 1 else ()


def _is_real_data(e: El, variables: Mapping[str, m.Variable]) -> bool:
    """An observed scalar or vector on the line."""
    v = variables.get(e.var)
    return (
        v is not None and v.kind == "observed" and v.domain.kind == "real" and bool(v.plates) and len(v.domain.dims) < 2
    )


def _product(e: Expr, y: El, variables: Variables) -> Plane | None:
    """The plane where e is `sum_p X[n, p] b[..., p]`, the rows of X those of y, or `sum_p A[d, p] b[..., p]`.

    So is `u[n] b`, for a y of numbers.
    """
    factors = x.factors_of(e.body if isinstance(e, x.Sum) else e)
    if len(factors) != 2 or not all(isinstance(f, El) for f in factors):
        return None
    event = y.idx[len(y.idx) - len(variables[y.var].domain.dims) :]
    row = y.idx[: len(y.idx) - len(event)]
    across = (e.ix,) if isinstance(e, x.Sum) else ()
    for design, param in (factors, factors[::-1]):
        assert isinstance(design, El) and isinstance(param, El)
        X = variables.get(design.var)
        if X is None or X.kind != "given" or not X.domain.interval or not _is_coefficient(param, variables):
            continue
        rows = bool(X.plates)
        slots = (*across, *event) if rows else across
        aligned = design.idx == (*(row if rows else event), *across) and all(param.idx.count(i) == 1 for i in slots)
        if aligned and (across or (rows and not event)):
            found = tuple(param.idx.index(i) for i in slots)
            return Plane(y.var, design.var, param.var, found, rows, column=not across)
    return None


def _is_coefficient(e: El, variables: Variables) -> bool:
    """An element of an array on the line, whose literal positions, if any, would ask for a reference each."""
    b = variables.get(e.var)
    if b is None or not b.domain.unbounded:
        return False
    if b.kind == "latent" and range_of(b) != EVERYWHERE:
        return False
    free = b.kind == "latent" or (b.kind == "param" and b.distribution is None)
    return free and not any(isinstance(i, int) for i in e.idx)
