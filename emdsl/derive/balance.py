"""Reference points through latents: data, the latents that they meet and what locates those move together.

    x[n] - u[g[n]],   u[g] - m            x - r,  u - r,  m - r:   both differences stay as they are

Each difference that holds something that moved is balanced by one more location in it (a free parameter, or a
latent on the line, with coefficient 1 or -1), whose own differences are balanced in turn. Exact for every r.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from emdsl.derive import expr as x
from emdsl.derive.centre import (
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
from emdsl.derive.expr import El, Expr
from emdsl.derive.factors import LogJoint
from emdsl.language import model as m

TRIES = 200  # choices of what balances a difference, for one data array
Variables = Mapping[str, m.Variable]


def recentre(joint: LogJoint) -> tuple[LogJoint, Mapping[str, Shift], tuple[str, ...]]:
    """The joint in centred coordinates, what parameters and latents are shifted by, and the centred data arrays."""
    shifts, centred = located(joint)
    for found, data in through_latents(joint, centred):
        shifts |= {name: added(shifts.get(name), shift) for name, shift in found.items()}
        centred[data] = None
    return in_coordinates(joint, shifts, tuple(centred), joint.model), shifts, tuple(centred)


def through_latents(joint: LogJoint, centred: Mapping[str, None]) -> Iterator[tuple[dict[str, Shift], str]]:
    """For each observed array on the line that is not centred yet: what moves with it, where all can be balanced."""
    search = Search.of(joint)
    for v in joint.model.of_kind("observed"):
        on_line = v.domain.kind == "real" and v.plates and v.name not in joint.incomplete
        if on_line and v.name not in centred and v.name in search.variables:
            found = search.balanced(v.name)
            if found:
                yield found, v.name


@dataclass
class Search:
    """The differences of a joint by what stands in them, and which variables stand in differences alone."""

    joint: LogJoint
    variables: Variables
    sums: Mapping[str, list[x.Add]]
    apart: frozenset[str]
    tries: int = TRIES

    @staticmethod
    def of(joint: LogJoint) -> Search:
        sums: dict[str, dict[x.Add, None]] = {}
        apart: set[str] = set()
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
            apart |= {n for n, count in every.items() if linear.get(n, 0) != count}
        variables = {v.name: v for v in joint.model.variables}
        return Search(joint, variables, {n: list(found) for n, found in sums.items()}, frozenset(apart))

    def balanced(self, data: str) -> dict[str, Shift]:
        """Shifts under which no difference changes when this array does; {} for none."""
        self.tries = TRIES
        return self._settled({}, data) or {}

    def _settled(self, shifts: dict[str, Shift], data: str) -> dict[str, Shift] | None:
        moving = {data, *shifts}

        def shift_of(e: El) -> Expr | None:
            if e.var == data:
                return at_reference(e, self.variables)
            return moved_by(shifts[e.var], e) if e.var in shifts else None

        if moving & self.apart:
            return None
        nodes = dict.fromkeys(n for name in (data, *shifts) for n in self.sums.get(name, ()))
        for node in nodes:
            parts = [linear_part(t, shift_of) for t in node.terms if moving & x.variables(t)]
            if None in parts:
                return None  # two that move in one product
            off = x.add(*(p for p in parts if p is not None))
            if off == x.ZERO:
                continue
            for sign, place in self._locations(node, moving):
                self.tries -= 1
                value = x.mul(x.num(-sign), off)
                shift = over_axes(place, value, self.variables[place.var]) if self.tries > 0 else None
                if shift is not None:
                    found = self._settled({**shifts, place.var: shift}, data)
                    if found is not None:
                        return found
            return None
        return shifts

    def _locations(self, node: x.Add, moving: set[str]) -> list[tuple[int, El]]:
        """What may balance a sum, parameters first: they bring no differences of their own."""
        parts = [x.split_number(t) for t in node.terms]
        places = [(int(c), e) for c, e in parts if isinstance(e, El) and abs(c) == 1 and e.var not in moving]
        free = [(c, e) for c, e in places if free_location(e, self.variables)]
        return free + [(c, e) for c, e in places if self._on_line(e)]

    def _on_line(self, e: El) -> bool:
        v = self.variables.get(e.var)
        if v is None or v.kind != "latent" or v.domain.kind != "real":
            return False
        bounded = v.domain.lower is not None or v.domain.upper is not None
        elsewhere = self.joint.discrete | self.joint.deterministic
        return not bounded and v.name not in elsewhere and len(e.idx) == len(axes_of(v))


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
