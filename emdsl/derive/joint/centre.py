"""Reference points: data far from the origin loses no digits when squares are opened.

Every real data array x that meets a location `x - m - ...` is written x + c, with c fixed when data
are bound, and m is written m + c - (the other terms at their own reference). What was (x - m - b z)
keeps its form in the new coordinates, all of them near zero. An exact change of coordinates: nothing
is approximated, and the numbers c cancel before anything is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Idx, Ix
from emdsl.derive.algebra.made import RAW, REFERENCE, is_made
from emdsl.derive.algebra.nodes import kept
from emdsl.derive.joint.constants import by_rest, gathered, is_constant
from emdsl.derive.joint.factors import Factor, LogJoint, origin
from emdsl.derive.joint.plates import home_of
from emdsl.language import model as m


@dataclass(frozen=True)
class Shift:
    """`param = working value + value`, elementwise over `axes`."""

    param: str
    axes: tuple[Ix, ...]
    value: Expr


def reference(name: str) -> str:
    return REFERENCE.of(name)


def raw(name: str) -> str:
    """The name of a data array as it was handed over, beside the one that is centred."""
    return RAW.of(name)


def located(joint: LogJoint) -> tuple[dict[str, Shift], dict[str, None]]:
    """The shifts of parameters that locate data by themselves, and the data arrays that are centred."""
    variables = {v.name: v for v in joint.model.variables}
    shifts: dict[str, Shift] = {}
    centred: dict[str, None] = {}
    for f in joint.factors:
        if f.role == "param":
            continue
        for node in x.walk(f.body):
            found = _location(node, variables) if isinstance(node, x.Add) else None
            if found is None:
                continue
            shift, place, data = found
            old = shifts.get(shift.param)
            apart = old is None or moved_by(old, place) == x.ZERO  # another literal position of the same parameter
            one, before = of_one_number({"": shift}), of_one_number(shifts)
            apart = apart and not any(n in centred and (n in one) != (n in before) for n in data)
            if apart and _only_location(joint, shift, variables):
                shifts[shift.param] = added(old, shift)
                centred.update(dict.fromkeys(data))
            elif old is not None and isinstance(node, x.Add):
                also = (_with(node, old, place, n, variables) for n in data if n not in centred and n not in shifts)
                shifts |= {s.param: s for s in also if s is not None}
    return shifts, centred


def _with(node: x.Add, old: Shift, place: El, name: str, variables: Mapping[str, m.Variable]) -> Shift | None:
    """How data move with a parameter that locates other data, too: both are measured from one point."""
    parts = [x.split_number(t) for t in node.terms]
    times = next(c for c, e in parts if e == place)
    for c, e in parts:
        if isinstance(e, El) and e.var == name:
            found = over_axes(e, x.mul(x.num(-times / c), moved_by(old, place)), variables[name])
            value = x.ZERO if found is None else found.value
            terms = x.terms_of(value)
            points = [t for t in terms if isinstance(t, El) and t.var in REFERENCE]
            if found is not None and len(points) == 1:  # numbers beside it stay where they are
                own = points[0].idx == found.axes[len(found.axes) - len(points[0].idx) :]
                return replace(found, value=points[0]) if own else None
    return None


def of_one_number(shifts: Mapping[str, Shift]) -> frozenset[str]:
    """The data arrays whose reference point is one number, of vectors too: `m * ones(D)` moves all entries alike."""
    return frozenset[str]().union(*(_of_one_number(s.value) for s in shifts.values()))


@kept  # each element of a vector that is printed asks this of the same sum
def _of_one_number(value: Expr) -> frozenset[str]:
    read = {e for e in x.walk(value) if isinstance(e, El) and e.var in REFERENCE}
    return frozenset(REFERENCE.named(e.var) for e in read if not e.idx)


def added(old: Shift | None, new: Shift) -> Shift:
    """One shift after another of the same parameter."""
    return new if old is None else replace(new, value=x.add(old.value, new.value))


def in_coordinates(
    joint: LogJoint,
    shifts: Mapping[str, Shift],
    centred: tuple[str, ...],
    model: m.ModelText,
    latent: Collection[str] = (),
) -> LogJoint:
    """A joint in the centred coordinates that were found for another of the same model.

    latent : data of which some are missing, so that no comparison of them is one of numbers that were handed over.
    """
    variables, alike = {v.name: v for v in model.variables}, of_one_number(shifts)

    def moved(factors: tuple[Factor, ...], about: str = "") -> tuple[Factor, ...]:
        def zero(e: Expr) -> Expr | None:
            if not isinstance(e, El) or e.var != origin(about):
                return None
            return moved_by(shifts[about], e) if about in shifts else x.ZERO

        def centre(e: Expr) -> Expr:
            compared = x.rebuild(e, lambda n: _as_they_came(n, moving, variables))
            return gathered(_centred(compared, shifts, centred, variables, alike), variables)

        def anew(f: Factor) -> Factor:
            body = centre(f.body)
            return replace(f, body=x.rebuild(body, zero) if about else body, masks=tuple(map(centre, f.masks)))

        return tuple(map(anew, factors))

    moving = {*centred, *shifts} - set(latent)

    told = {n: replace(t, mean=moved(t.mean, n), second=moved(t.second, n)) for n, t in joint.told.items()}
    return replace(joint, factors=moved(joint.factors), told=told) if shifts or told else joint


def _as_they_came(e: Expr, moving: set[str], variables: Mapping[str, m.Variable]) -> Expr | None:
    """A function of data alone is one of the numbers that were handed over.

    `x >= 0.1` is decided by a last digit, and so is log(x) where x is near 0 and its reference point is not. Whole
    powers are opened instead.
    """
    whole = isinstance(e, x.Pow) and isinstance(e.exponent, x.Num) and _is_whole(e.exponent)
    if not isinstance(e, x.Fn | x.Pow) or whole or not moving & x.variables(e):
        return None
    if any(not is_made(n) and variables[n].kind not in ("given", "observed") for n in x.variables(e) if n in variables):
        return None
    return x.rebuild(e, lambda n: El(raw(n.var), n.idx, n.sort) if isinstance(n, El) and n.var in moving else None)


def _is_whole(exponent: x.Num) -> bool:
    return exponent.value > 0 and exponent.value == int(exponent.value)


def axes_of(v: m.Variable) -> tuple[Ix, ...]:
    dims = [*(i.dim for i in home_of(v)), *(str(d) for d in v.shape[len(v.plates) :])]
    return tuple(Ix(f"{v.name}_{n}", d) for n, d in enumerate(dims))


def _is_data(e: Expr, variables: Mapping[str, m.Variable]) -> bool:
    if not isinstance(e, El) or e.var not in variables:
        return False
    v = variables[e.var]
    return v.kind in ("observed", "given") and v.domain.interval and bool(v.plates)


def free_location(e: Expr, variables: Mapping[str, m.Variable]) -> bool:
    if not isinstance(e, El) or e.var not in variables:
        return False
    v = variables[e.var]
    moves = v.domain.kind in ("real", "ordered") and v.domain.lower is None and v.domain.upper is None
    return v.kind == "param" and moves and len(e.idx) == len(v.shape)


def _location(node: x.Add, variables: Mapping[str, m.Variable]) -> tuple[Shift, El, list[str]] | None:
    """`c * (m - linear terms in data)`, c a number: the shift of m, m as it stands there, all data arrays in it.

    Data beside a power or another function of themselves stay: a shift would open more than it saves.
    """
    parts = [x.split_number(t) for t in node.terms]
    places = [(c, e) for c, e in parts if free_location(e, variables)]
    if not places:
        return None
    times, place = places[0]
    assert isinstance(place, El)
    linear = [(c, moved) for c, e in parts if (moved := _linear_in_data(e, variables)) is not None]
    value: Expr = x.ZERO
    names: list[str] = []
    for name in dict.fromkeys(moved[0] for _, moved in linear):
        mine = [x.mul(x.num(-c / times), point) for c, (n, point) in linear if n == name]
        shift = over_axes(place, x.add(*mine), variables[place.var])
        if shift is None:  # the parameter is one number for several entries: so is their reference point
            same = [(c, _linear_in_data(e, variables, frozenset((name,)))) for c, e in parts if _holds(e, name)]
            alike = [x.mul(x.num(-c / times), moved[1]) for c, moved in same if moved is not None]
            shift = over_axes(place, x.add(*alike), variables[place.var])
        if shift is not None and len(mine) == sum(_holds(t, name) for t in node.terms):
            value = x.add(value, shift.value)
            names.append(name)
    if any(n in x.variables(e) for _, e in parts if isinstance(e, El) for n in names):  # `m + 3` lies where data do
        for constant in by_rest([t for t in node.terms if is_constant(t, variables)], variables).get(x.ONE, ()):
            shift = over_axes(place, x.mul(x.num(-1 / times), constant), variables[place.var])
            value = value if shift is None else x.add(value, shift.value)
    return (Shift(place.var, axes_of(variables[place.var]), value), place, names) if names else None


def _holds(e: Expr, name: str) -> bool:
    """Whether a term holds data outside the sums within it (which have locations of their own)."""
    if isinstance(e, El):
        return e.var == name
    return not isinstance(e, x.Add) and any(_holds(c, name) for c in x.children(e))


def over_axes(place: El, value: Expr, v: m.Variable) -> Shift | None:
    """The shift of the whole parameter that moves `place` by `value`: positions become axes, a literal one a delta.

    An ordered parameter moves by one number or not at all.
    """
    axes = axes_of(v)
    if v.domain.kind == "ordered":
        return None if x.free(value) else Shift(v.name, axes, value)
    to: dict[Idx, Ix] = {i: axis for i, axis in zip(place.idx, axes, strict=True) if not isinstance(i, int)}

    def move(e: Expr) -> Expr | None:
        return El(e.var, tuple(to.get(i, i) for i in e.idx), e.sort) if isinstance(e, El) else None

    slots = [x.delta(axis, i) for i, axis in zip(place.idx, axes, strict=True) if isinstance(i, int)]
    moved = x.mul(*slots, x.rebuild(value, move, {i: to[i] for i in to if isinstance(i, Ix)}))
    repeated = len(to) + len(slots) < len(axes)
    return None if repeated or not set(x.free(moved)) <= set(axes) else Shift(v.name, axes, moved)


def at_reference(e: El, variables: Mapping[str, m.Variable], alike: Collection[str] = ()) -> El:
    """The reference point of a data element: one number per event position, the same for every row.

    Of `alike` arrays it is the same for every position, too.
    """
    rank = 0 if e.var in alike else len(variables[e.var].domain.dims)
    return El(reference(e.var), e.idx[len(e.idx) - rank :] if rank else ())


def _linear_in_data(
    e: Expr, variables: Mapping[str, m.Variable], alike: Collection[str] = ()
) -> tuple[str, Expr] | None:
    """(data array, the term at its reference) for `b * z[n]` or `sum_p b[p] z[n, p]` with z real data."""
    if isinstance(e, x.Sum):
        inner = _linear_in_data(e.body, variables, alike)
        return None if inner is None else (inner[0], x.total(e.ix, inner[1]))
    factors = x.factors_of(e)
    data = [f for f in factors if _is_data(f, variables)]
    rest = [f for f in factors if not _is_data(f, variables)]
    if len(data) != 1 or any(_touches_data(f, variables) for f in rest):
        return None
    leaf = data[0]
    assert isinstance(leaf, El)
    return leaf.var, x.mul(*rest, at_reference(leaf, variables, alike))


def _touches_data(f: Expr, variables: Mapping[str, m.Variable]) -> bool:
    named = {f.var} if isinstance(f, El) else x.variables(f)  # what only tells which element is meant does not count
    return any(n not in variables or variables[n].kind != "param" for n in named)


def _only_location(joint: LogJoint, shift: Shift, variables: Mapping[str, m.Variable]) -> bool:
    """Whether what is shifted of the parameter stands only as a term of sums beside data, or in a prior."""
    name = shift.param

    def moves(e: Expr) -> bool:
        return isinstance(e, El) and e.var == name and moved_by(shift, e) != x.ZERO

    for f in joint.factors:
        if f.role == "param" or name not in x.variables(f.body):
            continue
        count = sum(moves(e) for e in x.walk(f.body))
        direct = 0
        for node in x.walk(f.body):
            if isinstance(node, x.Add):
                located = _location(node, variables)
                if located is not None and located[0].param == name:
                    direct += sum(moves(x.split_number(t)[1]) for t in node.terms)
        if count != direct:
            return False
    return True


def moved_by(shift: Shift, e: El) -> Expr:
    """What is added to one element of a shifted parameter."""
    return x.substitute(shift.value, dict(zip(shift.axes, e.idx, strict=True)))


def _centred(
    body: Expr,
    shifts: Mapping[str, Shift],
    centred: tuple[str, ...],
    variables: Mapping[str, m.Variable],
    alike: Collection[str],
) -> Expr:
    """The body with data and parameters written in the new coordinates; `alike` as `of_one_number` has them."""

    def move(e: Expr) -> Expr | None:
        if isinstance(e, El):
            by = shift_of(e)
            return None if by is None else x.add(e, by)
        if isinstance(e, x.Add):
            return x.add(*(_term(t) for t in e.terms))
        return None

    def shift_of(e: El) -> Expr | None:
        if e.var in centred:
            return at_reference(e, variables, alike)
        return moved_by(shifts[e.var], e) if e.var in shifts else None

    def _term(t: Expr) -> Expr:
        by = None if isinstance(t, El) or within(t) else linear_part(t, shift_of)
        return x.rebuild(t, move) if by is None else x.add(t, by)  # a product stays one, beside what it grows by

    def within(t: Expr) -> bool:
        parts = x.factors_of(t.body if isinstance(t, x.Sum) else t)
        inner = [f for f in parts if not isinstance(f, El | x.Sum)]
        return any(within(f) for f in parts if isinstance(f, x.Sum)) or bool(
            {*centred, *shifts} & {n for f in inner for n in x.variables(f)}
        )

    return x.rebuild(body, move)


def linear_part(t: Expr, shift_of: Callable[[El], Expr | None]) -> Expr | None:
    """What a term of a sum grows by when one element in it moves: the rest of it times the shift; None for several.

    Sums inside have terms of their own.
    """
    if isinstance(t, x.Sum):
        inner = linear_part(t.body, shift_of)
        return None if inner is None else x.total(t.ix, inner)
    factors = x.factors_of(t)
    grown: list[Expr] = []
    for n, f in enumerate(factors):
        by = shift_of(f) if isinstance(f, El) else linear_part(f, shift_of) if isinstance(f, x.Sum) else x.ZERO
        if by is None and isinstance(f, x.Sum):
            return None
        if by is not None and by != x.ZERO:
            grown.append(x.mul(*factors[:n], *factors[n + 1 :], by))
    return None if len(grown) > 1 else x.add(*grown)
