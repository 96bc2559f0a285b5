"""Reference points: data far from the origin loses no digits when squares are opened.

Every real data array x that meets a location `x - m - ...` is written x + c, with c fixed when data
are bound, and m is written m + c - (the other terms at their own reference). What was (x - m - b z)
keeps its form in the new coordinates, all of them near zero. An exact change of coordinates: nothing
is approximated, and the numbers c cancel before anything is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from emdsl.derive import expr as x
from emdsl.derive.expr import El, Expr, Idx, Ix
from emdsl.derive.factors import LogJoint
from emdsl.language import model as m


@dataclass(frozen=True)
class Shift:
    """`param = working value + value`, elementwise over `axes`."""

    param: str
    axes: tuple[Ix, ...]
    value: Expr


def reference(name: str) -> str:
    return f"reference:{name}"


def recentre(joint: LogJoint) -> tuple[LogJoint, Mapping[str, Shift], tuple[str, ...]]:
    """The joint in centred coordinates, the shifts of parameters, and the data arrays that are centred."""
    variables = {v.name: v for v in joint.model.variables}
    shifts: dict[str, Shift] = {}
    centred: dict[str, None] = {}
    for f in joint.factors:
        if f.role != "observed":
            continue
        for node in x.walk(f.body):
            found = _location(node, variables) if isinstance(node, x.Add) else None
            if found is None:
                continue
            shift, data = found
            old = shifts.get(shift.param)
            if old is None and _only_location(joint, shift.param, variables):
                shifts[shift.param] = shift
                centred.update(dict.fromkeys(data))
    for found_shifts, data_name in _through_latents(joint, variables):
        if not set(found_shifts) & set(shifts):
            shifts.update(found_shifts)
            centred[data_name] = None
    if not shifts:
        return joint, {}, ()
    factors = tuple(replace(f, body=_centred(f.body, shifts, tuple(centred), variables)) for f in joint.factors)
    return replace(joint, factors=factors), shifts, tuple(centred)


def _through_latents(joint: LogJoint, variables: Mapping[str, m.Variable]) -> list[tuple[dict[str, Shift], str]]:
    """`x - u` with a latent u that stands at a location m of its own: u and m move with x."""
    out = []
    for u in joint.model.of_kind("latent"):
        if u.domain.kind != "real" or u.name in joint.discrete or u.name in joint.deterministic:
            continue
        own = [n for f in joint.factors if f.about == u.name for n in x.walk(f.body) if isinstance(n, x.Add)]
        seen = [n for f in joint.factors if f.role == "observed" for n in x.walk(f.body) if isinstance(n, x.Add)]
        below = _opposite(own, u.name, lambda e: _free_location(e, variables))
        above = _opposite(seen, u.name, lambda e: _is_data(e, variables))
        if below is None or above is None or not all(_only_in_sums(joint, n) for n in (u.name, below[1].var)):
            continue
        point = at_reference(above[1], variables)
        if point.idx:
            continue  # vectors: their latents are not integrated out one by one
        shifts = {e.var: Shift(e.var, axes_of(variables[e.var]), point) for e in (below[0], below[1])}
        out.append((shifts, above[1].var))
    return out


def axes_of(v: m.Variable) -> tuple[Ix, ...]:
    return tuple(Ix(f"{v.name}_{n}", str(d)) for n, d in enumerate(v.shape))


def _opposite(nodes: list[x.Add], name: str, other: Callable[[Expr], bool]) -> tuple[El, El] | None:
    """(element of `name`, another element) that stand in one sum with opposite signs."""
    for node in nodes:
        parts = [x.split_number(t) for t in node.terms]
        own = [(c, e) for c, e in parts if isinstance(e, El) and e.var == name and abs(c) == 1]
        for c, e in parts:
            if own and isinstance(e, El) and c == -own[0][0] and other(e):
                leaf = own[0][1]
                assert isinstance(leaf, El)
                return leaf, e
    return None


def _only_in_sums(joint: LogJoint, name: str) -> bool:
    """Whether every occurrence of a variable is a term of a sum."""
    for f in joint.factors:
        count = sum(isinstance(e, El) and e.var == name for e in x.walk(f.body))
        terms = [x.split_number(t)[1] for n in x.walk(f.body) if isinstance(n, x.Add) for t in n.terms]
        if count != sum(isinstance(t, El) and t.var == name for t in terms):
            return False
    return True


def _is_data(e: Expr, variables: Mapping[str, m.Variable]) -> bool:
    if not isinstance(e, El) or e.var not in variables:
        return False
    v = variables[e.var]
    return v.kind in ("observed", "given") and v.domain.kind in ("real", "positive", "unit") and bool(v.plates)


def _free_location(e: Expr, variables: Mapping[str, m.Variable]) -> bool:
    if not isinstance(e, El) or e.var not in variables:
        return False
    v = variables[e.var]
    moves = v.domain.kind in ("real", "ordered") and v.domain.lower is None and v.domain.upper is None
    return v.kind == "param" and moves and len(e.idx) == len(v.shape)


def _location(node: x.Add, variables: Mapping[str, m.Variable]) -> tuple[Shift, list[str]] | None:
    """`s * (x - m - linear terms in other data)`: the shift of m, and all data arrays in it."""
    parts = [x.split_number(t) for t in node.terms]
    observed = [(c, e) for c, e in parts if _is_data(e, variables) and abs(c) == 1]
    places = [(c, e) for c, e in parts if _free_location(e, variables) and abs(c) == 1]
    if len(observed) != 1 or not places or places[0][0] != -observed[0][0]:
        return None
    (sign, data), (_, place) = observed[0], places[0]
    assert isinstance(data, El) and isinstance(place, El)
    value: Expr = at_reference(data, variables)
    names = [data.var]
    for c, e in parts:
        if e is data or e is place:
            continue
        moved = _linear_in_data(e, variables)
        if moved is not None and set(x.free(moved[1])) <= set(place.idx):
            value = x.add(value, x.mul(x.num(c * sign), moved[1]))
            names.append(moved[0])
    free, ordered = set(x.free(value)), variables[place.var].domain.kind == "ordered"
    if not free:
        return Shift(place.var, axes_of(variables[place.var]), value), names  # the same for every element
    plain = all(isinstance(i, Ix) for i in place.idx) and len(set(place.idx)) == len(place.idx)
    if ordered or not plain or not free <= set(place.idx):
        return None
    axes = tuple(Ix(f"{place.var}_{n}", i.dim) for n, i in enumerate(place.idx) if isinstance(i, Ix))
    to: dict[Ix, Idx] = dict(zip(place.idx, axes, strict=True))  # type: ignore[arg-type]
    return Shift(place.var, axes, x.substitute(value, to)), names


def at_reference(e: El, variables: Mapping[str, m.Variable]) -> El:
    """The reference point of a data element: one number per event position, the same for every row."""
    rank = len(variables[e.var].domain.dims)
    return El(reference(e.var), e.idx[len(e.idx) - rank :] if rank else ())


def _linear_in_data(e: Expr, variables: Mapping[str, m.Variable]) -> tuple[str, Expr] | None:
    """(data array, the term at its reference) for `b * z[n]` or `sum_p b[p] z[n, p]` with z real data."""
    if isinstance(e, x.Sum):
        inner = _linear_in_data(e.body, variables)
        return None if inner is None else (inner[0], x.total(e.ix, inner[1]))
    factors = x.factors_of(e)
    data = [f for f in factors if _is_data(f, variables)]
    rest = [f for f in factors if not _is_data(f, variables)]
    if len(data) != 1 or any(_touches_data(f, variables) for f in rest):
        return None
    leaf = data[0]
    assert isinstance(leaf, El)
    return leaf.var, x.mul(*rest, at_reference(leaf, variables))


def _touches_data(f: Expr, variables: Mapping[str, m.Variable]) -> bool:
    return any(n not in variables or variables[n].kind != "param" for n in x.variables(f))


def _only_location(joint: LogJoint, name: str, variables: Mapping[str, m.Variable]) -> bool:
    """Whether the parameter stands only as a term of sums, beside data or in its own prior."""
    for f in joint.factors:
        count = sum(isinstance(e, El) and e.var == name for e in x.walk(f.body))
        direct = 0
        for node in x.walk(f.body):
            if isinstance(node, x.Add):
                own = [e for t in node.terms if isinstance(e := x.split_number(t)[1], El) and e.var == name]
                located = _location(node, variables)
                if f.role == "param" or (located is not None and located[0].param == name):
                    direct += len(own)
        if count != direct:
            return False
    return True


def _centred(
    body: Expr, shifts: Mapping[str, Shift], centred: tuple[str, ...], variables: Mapping[str, m.Variable]
) -> Expr:
    """The body with data and parameters written in the new coordinates."""

    def move(e: Expr) -> Expr | None:
        if isinstance(e, El) and e.var in centred:
            return x.add(e, at_reference(e, variables))
        if isinstance(e, El) and e.var in shifts:
            shift = shifts[e.var]
            return x.add(e, x.substitute(shift.value, dict(zip(shift.axes, e.idx, strict=True))))
        if isinstance(e, x.Add):
            return x.add(*(_term(t) for t in e.terms))
        return None

    def _term(t: Expr) -> Expr:
        c, e = x.split_number(t)
        moved = _linear_in_data(e, variables)
        if moved is not None and moved[0] in centred and not isinstance(e, El):
            return x.add(t, x.mul(x.num(c), moved[1]))
        return x.rebuild(t, move)

    return x.rebuild(body, move)
