"""Reference points through latents: data, the latents that they meet and what locates those move together.

    x[n] - u[g[n]],   u[g] - m            x - r,  u - r,  m - r:   both differences stay as they are

Each difference that holds something that moved is balanced by one more location in it (a free parameter, or a
latent on the line, times a number), whose own differences are balanced in turn; what is given, or seen of
the same latent elsewhere, moves as data do. Where a latent lies about a number, that difference alone is left as it
is: `u - 3` becomes `u - (3 - r)`. Exact for every r.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr
from emdsl.derive.algebra.made import REFERENCE, is_made
from emdsl.derive.joint.centre import (
    Shift,
    added,
    at_reference,
    axes_of,
    free_location,
    in_coordinates,
    linear_part,
    located,
    moved_by,
    over_axes,
)
from emdsl.derive.joint.compared import as_differences, limits_of_latents
from emdsl.derive.joint.constants import by_rest
from emdsl.derive.joint.factors import LogJoint
from emdsl.derive.joint.plates import home_of
from emdsl.derive.joint.ranges import EVERYWHERE, range_of
from emdsl.language import model as m

TRIES = 200  # choices of what balances a difference, for one data array
WORK = 50_000  # differences looked at, for all of them together: then data stay where they are
Variables = Mapping[str, m.Variable]


def recentre(
    joint: LogJoint, incomplete: Collection[str] = ()
) -> tuple[LogJoint, Mapping[str, Shift], tuple[str, ...]]:
    """The joint in centred coordinates, what parameters and latents are shifted by, and the centred data arrays.

    incomplete : data of which some are missing.
    """
    if joint.model.copies:
        return _with_copies(joint, incomplete)
    compared = as_differences(joint, incomplete)
    joint = compared if incomplete else joint  # what is missing of them is cut
    shifts, centred = located(joint)
    for found, data in through_latents(compared, centred):
        shifts |= {name: added(shifts.get(name), shift) for name, shift in found.items()}
        centred[data] = None
        joint = compared
    above_priors(joint, shifts)
    return in_coordinates(joint, shifts, tuple(centred), joint.model, incomplete), shifts, tuple(centred)


def _with_copies(joint: LogJoint, incomplete: Collection[str]) -> tuple[LogJoint, Mapping[str, Shift], tuple[str, ...]]:
    """Copies of elements of an array are that array where it is asked what moves; each then moves as it does."""
    model, of = joint.model, dict(joint.model.copies)

    def one(e: Expr) -> Expr | None:
        if not isinstance(e, El) or e.var not in of:
            return None
        v, home = model.variable(of[e.var]), home_of(model.variable(of[e.var]))
        own = e.idx[len(e.idx) - len(v.domain.dims) :] if v.domain.dims else ()
        return El(v.name, (*home, *own), e.sort)

    factors = tuple(replace(f, body=x.rebuild(f.body, one)) for f in joint.factors)
    names = {*set(incomplete) - {*of}, *(of[n] for n in of if n in incomplete or model.variable(n).kind == "latent")}
    _, found, centred = recentre(replace(joint, factors=factors, model=replace(model, copies=())), sorted(names))
    variables, shifts = {v.name: v for v in model.variables}, dict(found)
    for name, whole in of.items():
        axes = axes_of(variables[name])
        if whole in centred:
            point = El(REFERENCE.of(whole), axes[len(axes) - len(variables[name].domain.dims) :])
            shifts[name] = Shift(name, axes, point)
    return in_coordinates(joint, shifts, centred, model, incomplete), shifts, centred


def through_latents(joint: LogJoint, centred: Mapping[str, None]) -> Iterator[tuple[dict[str, Shift], str]]:
    """For each observed array on the line that is not centred yet: what moves with it, where all can be balanced.

    So for what is given: an end of an interval, a covariate beside a latent with a location (`u[g[n]] + b * t[n]`).
    """
    search, moved = Search.of(joint), set[str]()
    for v in (*joint.model.of_kind("observed"), *joint.model.of_kind("given")):
        on_line = v.domain.kind == "real" and v.plates and v.name not in joint.incomplete
        if on_line and v.name not in {*centred, *moved} and v.name in search.variables:
            found = search.balanced(v.name)
            data = {n for n in found if search.variables[n].kind in ("observed", "given")}
            free = data.isdisjoint({*centred, *moved})  # an array has one reference point
            moved |= set(found)  # and what moves with one that has it finds the same
            if found and free:
                yield found, v.name


def above_priors(joint: LogJoint, shifts: dict[str, Shift]) -> None:
    """Adds what the priors of shifted parameters lie about, parameters of no other use, and what those lie about."""
    variables = {v.name: v for v in joint.model.variables}
    data = {n for f in joint.factors if f.role != "param" for n in x.variables(f.body)}
    nodes = [n for f in joint.factors if f.role == "param" for n in x.walk(f.body) if isinstance(n, x.Add)]

    def shift_of(e: El) -> Expr | None:
        return moved_by(shifts[e.var], e) if e.var in shifts else None

    for node in nodes * len(nodes):
        parts = [x.split_number(t) for t in node.terms]
        grown = [linear_part(t, shift_of) for t in node.terms]
        off = x.add(*(g for g in grown if g is not None))
        places = [(c, e) for c, e in parts if isinstance(e, El) and free_location(e, variables)]
        for times, place in places if off != x.ZERO and None not in grown else ():
            if place.var not in {*data, *shifts} and not any(not is_made(n) for n in x.variables(off)):
                found = over_axes(place, x.mul(x.num(-1 / times), off), variables[place.var])
                shifts |= {} if found is None else {place.var: found}


@dataclass
class Search:
    """The differences of a joint by what stands in them, and which variables stand in differences alone."""

    joint: LogJoint
    variables: Variables
    sums: Mapping[str, list[x.Add]]
    apart: frozenset[str]
    elsewhere: frozenset[str]  # as `apart`, own densities of latents left out
    own: Mapping[str, frozenset[x.Add]]  # the sums in these
    limits: frozenset[str]  # what is given, and compared with latents
    tries: int = TRIES
    work: int = WORK
    loose: bool = False  # whether latents may lie about numbers

    @staticmethod
    def of(joint: LogJoint) -> Search:
        sums: dict[str, dict[x.Add, None]] = {}
        apart: set[str] = set()
        elsewhere: set[str] = set()
        own: dict[str, set[x.Add]] = {}
        for f in joint.factors:
            if f.role == "param":
                continue
            every: dict[str, int] = {}
            linear: dict[str, int] = {}
            for node in (n for e in (f.body, *f.masks, *f.gates) for n in x.walk(e)):
                if isinstance(node, El):
                    every[node.var] = every.get(node.var, 0) + 1
                if isinstance(node, x.Add):
                    for name in {e.var for t in node.terms for e in _linear(t)}:
                        linear[name] = linear.get(name, 0) + sum(e.var == name for t in node.terms for e in _linear(t))
                        sums.setdefault(name, {})[node] = None
            found = {n for n, count in every.items() if linear.get(n, 0) != count}
            apart |= found
            elsewhere |= found - {f.about}
            own.setdefault(f.about, set()).update(n for n in x.walk(f.body) if isinstance(n, x.Add))
        variables = {v.name: v for v in joint.model.variables}
        nodes = {n: list(found) for n, found in sums.items()}
        latent = {v.name: frozenset(own.get(v.name, ())) for v in joint.model.of_kind("latent")}
        limits = limits_of_latents(joint)
        return Search(joint, variables, nodes, frozenset(apart), frozenset(elsewhere), latent, limits)

    def balanced(self, data: str) -> dict[str, Shift]:
        """Shifts under which no difference changes when this array does, or none but from numbers; {} for none."""
        for self.loose in (False, True):
            self.tries = TRIES
            found = self._settled({}, data)
            if found and all(self._as_stored(shift) for shift in found.values()):
                return found
        return {}

    def _as_stored(self, s: Shift) -> bool:
        """Whether what is given or seen can be held less its shift: a reference point on its last axes."""
        if self.variables[s.param].kind not in ("given", "observed"):
            return True
        return isinstance(s.value, El) and s.value.idx == s.axes[len(s.axes) - len(s.value.idx) :]

    def _about_a_number(self, node: x.Add, moving: set[str], data: str) -> bool:
        """Whether a difference may stay unbalanced: it is of a latent that lies where the data do.

        One of many, beside other terms (`X[n] @ beta + b[g[n]]`), need not: it stays.
        """
        mine = [n for n in moving if node in self.own.get(n, ())]
        return self.loose and any(self._alone(n, data) for n in mine)

    def _beside_constants(self, node: x.Add, off: Expr, moving: set[str], data: str) -> bool:
        """Whether each number that a difference grows by has one beside it: `u - 3 - a (v - 3)`, `min(u, 3) - y`."""
        constants = by_rest(node.terms, self.variables)
        grown = by_rest(x.terms_of(off), self.variables)
        own = [n for n in moving if node in self.own.get(n, ())]
        beside = all(rest in constants and not node.terms.count(rest) for rest in grown)
        return self.loose and beside and all(self._alone(n, data) for n in own)

    def _alone(self, name: str, data: str) -> bool:
        beside = [n for n in self.sums.get(data, ()) if any(name in x.variables(t) for t in n.terms)]
        return not self.variables[name].plates or all(
            sum(not isinstance(t, x.Num) for t in n.terms) == 2 for n in beside
        )

    def _settled(self, shifts: dict[str, Shift], data: str) -> dict[str, Shift] | None:
        moving = {data, *shifts}

        def shift_of(e: El) -> Expr | None:
            if e.var == data:
                return at_reference(e, self.variables)
            return moved_by(shifts[e.var], e) if e.var in shifts else None

        numbers = moving & self.apart
        by_numbers = all(is_made(n) for name in numbers - {data} for n in x.variables(shifts[name].value))
        beside = self.loose and by_numbers and all(self._alone(n, data) for n in numbers)
        if numbers & self.elsewhere or (numbers and not beside):
            return None
        nodes = dict.fromkeys(n for name in (data, *shifts) for n in self.sums.get(name, ()))
        self.work -= len(nodes)
        if self.work < 0:
            return None
        for node in nodes:
            parts = [linear_part(t, shift_of) for t in node.terms if moving & x.variables(t)]
            if None in parts:  # two that move in one product: squares about 0
                if self._about_a_number(node, moving, data):
                    continue
                return None
            off = x.add(*(p for p in parts if p is not None))
            number = _number_in(node)
            if off in (x.ZERO, x.mul(x.num(-1), number)):
                continue
            tied = any(v.kind == "latent" for n in x.variables(off) if (v := self.variables.get(n)) is not None)
            for shift in () if tied else self._balancing(node, moving, off, number):
                found = self._settled({**shifts, shift.param: shift}, data)
                if found is not None:
                    return found
            if self._beside_constants(node, off, moving, data):
                continue
            if len(parts) > 1 or any(not is_made(n) for n in x.variables(off)):
                return None
            if not self._about_a_number(node, moving, data):
                return None
        return shifts

    def _balancing(self, node: x.Add, moving: set[str], off: Expr, number: Expr) -> Iterator[Shift]:
        """Shifts under which a sum stays as it is: what lies by a number off (`1e5 + h`) moves by that, too."""
        for times, place in self._locations(node, moving):
            for more in dict.fromkeys((number, x.ZERO)):
                self.tries -= 1
                value = x.mul(x.num(-1 / times), x.add(off, more))
                shift = over_axes(place, value, self.variables[place.var]) if self.tries > 0 else None
                if shift is not None and self._as_stored(shift):
                    yield shift

    def _locations(self, node: x.Add, moving: set[str]) -> list[tuple[Fraction | float, El]]:
        """What may balance a sum, parameters first: they bring no differences of their own."""
        parts = [x.split_number(t) for t in node.terms]
        places = [(c, e) for c, e in parts if isinstance(e, El) and e.var not in moving]
        free = [(c, e) for c, e in places if free_location(e, self.variables)]
        latent = [(c, e) for c, e in places if self._on_line(e, "latent")]
        seen = any(
            e.var in self.variables and self.variables[e.var].kind == "observed" for _, e in parts if isinstance(e, El)
        )
        data = "observed" if seen else "given"  # two instruments that read one latent move together
        moved = [(c, e) for c, e in places if self._on_line(e, data)]
        if seen:  # and so does a limit of what is seen
            moved += [(c, e) for c, e in places if e.var in self.limits and self._on_line(e, "given")]
        return free + latent + moved

    def _on_line(self, e: El, kind: str) -> bool:
        v = self.variables.get(e.var)
        if v is None or v.kind != kind or v.domain.kind != "real":
            return False
        bounded = range_of(v) != EVERYWHERE
        elsewhere = self.joint.discrete | self.joint.deterministic | set(self.joint.incomplete)
        return not bounded and v.name not in elsewhere and len(e.idx) == len(axes_of(v))


def _number_in(node: x.Add) -> Expr:
    """The number among the terms of a sum, 0 where there is none."""
    return x.add(*(t for t in node.terms if isinstance(t, x.Num)))


def _linear(t: Expr) -> Iterator[El]:
    """The elements that a term is linear in, sums over indices gone through."""
    if isinstance(t, x.Sum):
        yield from _linear(t.body)
        return
    factors = x.factors_of(t)
    names = [n for f in factors for n in ({f.var} if isinstance(f, El) else x.variables(f))]
    for f in factors:
        if isinstance(f, El) and names.count(f.var) == 1:
            yield f
        elif isinstance(f, x.Sum) and len(factors) > 1:
            yield from _linear(f)
