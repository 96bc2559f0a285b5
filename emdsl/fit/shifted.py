"""What densities read of some observed variables: rows of their own sequence, so many rows before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from emdsl.language import model as m
from emdsl.language.transform import Change, changed, expressions_of, in_leaves, names_in


@dataclass(frozen=True)
class Lags:
    """`names` are read by the densities of `group`, which holds them, at lags of up to `longest` rows; they are what is
    missing, and what else of the group its densities read."""

    names: tuple[str, ...]
    group: tuple[str, ...]
    longest: int
    plates: int

    def lag(self, e: m.Index) -> int:
        """How many rows before its own an element is read."""
        found = _lag(e.args[self.plates - 1])
        assert found is not None
        return found[1]


def lags_of(model: m.ModelText, names: Sequence[str]) -> Lags | None:
    """What reads these variables; None where that is anything but observed rows along the same ordered plate."""
    model = without_lets(model, names)
    wanted, before = set(names), set[str]()
    while wanted != before:
        before = set(wanted)
        group = [v for v in model.variables if v.name in wanted or (v.distribution is not None and _read(v) & wanted)]
        wanted |= {v.name for v in group} & set().union(*(_read(v) for v in group if v.distribution is not None))
    asked = {n for line in model.infer for g in line.groups for n in g}
    if not group or not asked <= wanted or any(p for p in model.potentials if names_in(p.expression) & wanted):
        return None
    plates = group[0].plates
    alike = all(v.kind == "observed" and v.plates == plates and not v.array for v in group)
    plain = [isinstance(p.size, m.Dim) for p in plates]
    if not alike or not plates or not all(plain[:-1]) or any(p.condition is not None for p in plates):
        return None
    found = [0]
    for v in group:
        for e in expressions_of(cast(m.Dist, v.distribution)):
            lags = _lags_in(e, wanted, plates)
            if lags is None:
                return None
            found += lags
    return Lags(tuple(v.name for v in group if v.name in wanted), tuple(v.name for v in group), max(found), len(plates))


def _read(v: m.Variable) -> set[str]:
    assert v.distribution is not None
    return set().union(*map(names_in, expressions_of(v.distribution)))


def _lags_in(e: m.Expr, names: set[str], plates: tuple[m.Plate, ...]) -> list[int] | None:
    """The lags at which an expression reads these variables; None where one is read in another way."""
    out: list[int] = []
    stack = [e]
    while stack:
        node = stack.pop()
        if isinstance(node, m.Var) and node.name in names:
            return None
        if isinstance(node, m.SizeOf | m.Each | m.SumOver) and isinstance(node.size, m.Ragged):
            return None
        if isinstance(node, m.Index) and isinstance(node.base, m.Var) and node.base.name in names:
            own = node.args[: len(plates)]
            found = [_lag(a) for a in own]
            if len(own) < len(plates) or any(f is None for f in found):
                return None
            told = [f for f in found if f is not None]
            if [n for n, _ in told] != [p.index for p in plates] or any(lag for _, lag in told[:-1]) or told[-1][1] < 0:
                return None
            out.append(told[-1][1])
            stack += node.args[len(plates) :]
            continue
        stack += m.children(node)
    return out


def _lag(e: m.Expr) -> tuple[str, int] | None:
    """`t - 2` as (t, 2)."""
    match e:
        case m.Loop(name):
            return name, 0
        case m.Call("sub", (m.Loop(name), m.Num(value))) if isinstance(value, int):
            return name, value
    return None


def without_lets(model: m.ModelText, names: Sequence[str]) -> m.ModelText:
    """The model in which lets that speak of these variables are written out where they are read."""
    bodies: dict[str, m.Let] = {}
    for let in model.lets:
        if names_in(let.body) & {*names, *bodies}:
            bodies[let.name] = replace(let, body=changed(let.body, _written_out(bodies)))
    if not bodies:
        return model
    change = _written_out(bodies)
    variables = tuple(
        v if v.distribution is None else replace(v, distribution=in_leaves(v.distribution, change))
        for v in model.variables
    )
    return replace(model, variables=variables, lets=tuple(let for let in model.lets if let.name not in bodies))


def _written_out(bodies: Mapping[str, m.Let]) -> Change:
    def change(e: m.Expr) -> m.Expr | None:
        if isinstance(e, m.Var) and e.name in bodies and not bodies[e.name].plates:
            return bodies[e.name].body
        if not (isinstance(e, m.Index) and isinstance(e.base, m.Var) and e.base.name in bodies):
            return None
        let = bodies[e.base.name]
        count = len(let.plates)
        values = {p.index: changed(a, change) for p, a in zip(let.plates, e.args, strict=False)}
        if len(values) < count:
            return None
        body = changed(let.body, lambda n: values.get(n.name) if isinstance(n, m.Loop) else None)
        rest = tuple(changed(a, change) for a in e.args[count:])
        return m.Index(body, rest, e.shape, e.span) if rest else body

    return change
