"""Comparisons of sums over a plate, by a sum that runs along it: of what is compared with c, c + 2 states are enough.

    [sum_i z_i > c]  =  [r_last > c],      r_i = min(r_{i-1} + z_i, c + 1)

So the elements of a discrete latent that a density reads together are a chain of (z, r), exact for any number of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace

from emdsl.derive.joint.factors import RUNNING
from emdsl.families import PRELUDE
from emdsl.language import model as m
from emdsl.language.transform import changed, expressions_of, in_leaves

COMPARED = {"lt": int.__lt__, "le": int.__le__, "gt": int.__gt__, "ge": int.__ge__, "eq": int.__eq__, "ne": int.__ne__}
MOST = 64  # what a sum is compared with


def by_running_sums(model: m.ModelText, sizes: Collection[str]) -> m.ModelText | None:
    """The model in which sums over these plates that are compared with numbers run along them; None without any."""
    latents = {v.name: v for v in model.of_kind("latent") if v.domain.discrete and v.domain.kind != "count"}
    found: dict[
        m.Expr, tuple[m.Variable, int, m.Expr]
    ] = {}  # what is added: whose elements, the most, in its own loops
    for e in _expressions(model):
        for node in m.walk(e):
            if (compared := _compared(node)) is not None and _tied(compared[0].size, sizes):
                made = _added(compared[0], latents)
                if made is None:
                    return None
                v, own = made
                most = max(compared[1], found[own][1] if own in found else 0)
                found[own] = (v, most, own)
    if not found:
        return None
    names = {own: f"{RUNNING}{v.name}{n or ''}" for n, (own, (v, _, _)) in enumerate(found.items())}

    def change(e: m.Expr) -> m.Expr | None:
        compared = _compared(e)
        if compared is None or not isinstance(e, m.Call):
            return None
        made = _added(compared[0], latents)
        if made is None or made[1] not in found:
            return None
        return _at_the_end(e, compared[0], made[0], names[made[1]])

    variables = [
        v if v.distribution is None else replace(v, distribution=in_leaves(v.distribution, change))
        for v in model.variables
    ]
    lets = tuple(replace(let, body=changed(let.body, change)) for let in model.lets)
    potentials = tuple(replace(p, expression=changed(p.expression, change)) for p in model.potentials)
    sums = tuple(_sum(names[own], *of) for own, of in found.items())
    return replace(model, variables=(*variables, *sums), lets=lets, potentials=potentials)


def _expressions(model: m.ModelText) -> Iterator[m.Expr]:
    for v in model.variables:
        yield from expressions_of(v.distribution) if v.distribution is not None else ()
    yield from (let.body for let in model.lets)
    yield from (p.expression for p in model.potentials)


def _tied(size: m.Size, sizes: Collection[str]) -> bool:
    return isinstance(size, m.Ragged) or str(size) in sizes


def _compared(e: m.Expr) -> tuple[m.SumOver, int] | None:
    """The sum that an expression compares with a whole number, and that number."""
    if not isinstance(e, m.Call) or e.fn not in COMPARED:
        return None
    for one, other in (e.args, e.args[::-1]):
        if isinstance(one, m.SumOver) and isinstance(other, m.Num) and isinstance(other.value, int):
            return (one, other.value) if 0 <= other.value <= MOST else None
    return None


def _added(s: m.SumOver, latents: dict[str, m.Variable]) -> tuple[m.Variable, m.Expr] | None:
    """The latent whose elements a sum reads, each once, and what is added for an element in the loops of its own."""
    body = s.body if s.cond is None else m.If(s.cond, s.body, m.Num(0), (), s.span)
    read = [e for e in m.walk(body) if isinstance(e, m.Index) and isinstance(e.base, m.Var) and e.base.name in latents]
    places = {e.args for e in read}
    whole = s.body in read or (isinstance(s.body, m.Call) and s.body.fn in COMPARED)
    if len(places) != 1 or len({e.base for e in read}) != 1 or not whole:
        return None
    (args,) = places
    v = latents[read[0].base.name]  # type: ignore[union-attr]
    loops = [a for a in args if isinstance(a, m.Loop)]
    if len(loops) < len(v.plates) or len(args) != len(v.plates) or loops[-1].name != s.index or v.array:
        return None
    if any(p.condition is not None for p in v.plates):
        return None
    own = {a.name: m.Loop(p.index, p.size) for a, p in zip(loops, v.plates, strict=True)}
    if any(isinstance(e, m.Loop) and e.name not in own for e in m.walk(body)):
        return None
    return v, changed(body, lambda e: own.get(e.name) if isinstance(e, m.Loop) else None)


def _at_the_end(e: m.Call, s: m.SumOver, v: m.Variable, name: str) -> m.Expr:
    """The comparison with the sum's value behind the last element; what it is where there is none."""
    args = next(
        n.args for n in m.walk(s.body) if isinstance(n, m.Index) and isinstance(n.base, m.Var) and n.base.name == v.name
    )
    length = m.SizeOf(s.size, s.span)
    last = m.Call("sub", (length, m.Num(1)), (), s.span)
    whole = m.Index(m.Var(name, tuple(p.size for p in v.plates)), (*args[:-1], last), (), s.span)
    sides = tuple(whole if a is s else a for a in e.args)
    none = (a.value if isinstance(a, m.Num) else 0 for a in e.args)
    empty = m.Num(int(COMPARED[e.fn](*(int(n) for n in none))))
    return m.If(m.Call("gt", (length, m.Num(0)), (), s.span), replace(e, args=sides), empty, (), e.span)


def _sum(name: str, v: m.Variable, most: int, added: m.Expr) -> m.Variable:
    """The running sum, up to one more than it is compared with."""
    size, span = tuple(p.size for p in v.plates), v.span
    loops = tuple(m.Loop(p.index, p.size) for p in v.plates)
    before = m.Index(m.Var(name, size), (*loops[:-1], m.Call("sub", (loops[-1], m.Num(1)), (), span)), (), span)
    first = m.Call("eq", (loops[-1], m.Num(0)), (), span)
    up_to: Callable[[m.Expr], m.Expr] = lambda e: m.Call("min", (e, m.Num(most + 1)), (), span)  # noqa: E731
    value = m.If(first, up_to(added), up_to(m.Call("add", (before, added), (), span)), (), span)
    point = m.FamilyCall(PRELUDE()["Delta"], 0, (("value", value),), (), (), span)
    levels = m.Domain("category", levels=m.Dim.of(most + 2), span=span)
    return m.Variable("latent", name, v.plates, (), levels, point, span=span)
