"""Walking through formulas: their parts, and the same formula with some of its parts exchanged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from emdsl.derive.algebra.made import STATISTIC
from emdsl.report import formula as f
from emdsl.report.formula import Formula

Step = Callable[[Formula], Formula | None]


def rebuilt(e: Formula, step: Step) -> Formula:
    """The formula with what `step` gives for a part, from outside to inside; None leaves a part to its own parts.

    One that stands in several places is asked once.
    """
    return _Rebuilding(step).of(e)


class _Rebuilding:
    """What was made of each part: no function that holds itself, which would wait for the collector."""

    __slots__ = ("made", "step")

    def __init__(self, step: Step) -> None:
        self.step, self.made = step, dict[int, Formula]()

    def of(self, p: Formula) -> Formula:
        if id(p) not in self.made:
            found = self.step(p)
            self.made[id(p)] = _below(p, self.of) if found is None else found
        return self.made[id(p)]


def _below(e: Formula, go: Callable[[Formula], Formula]) -> Formula:
    """The formula with its parts made anew."""

    def maybe(p: Formula | None) -> Formula | None:
        return None if p is None else go(p)

    match e:
        case f.At(base, places):
            return f.At(go(base), tuple(map(go, places)))
        case f.Nth(base, numbers):
            return f.Nth(go(base), tuple(map(go, numbers)))
        case f.Raised(base, exponent):
            return f.Raised(go(base), go(exponent))
        case f.Root(body):
            return f.Root(go(body))
        case f.Apply(function, arguments):
            return f.Apply(go(function), tuple(map(go, arguments)))
        case f.Bracket(body):
            return f.Bracket(go(body))
        case f.Rows(rows):
            return f.Rows(tuple(tuple(map(go, row)) for row in rows))
        case f.Mean(body, given):
            return f.Mean(go(body), maybe(given))
        case f.Slope(of, by, order, other):
            return f.Slope(go(of), go(by), order, maybe(other))
        case f.Plus(terms):
            return f.Plus(tuple((negative, go(t)) for negative, t in terms))
        case f.Times(factors):
            return f.Times(tuple(map(go, factors)))
        case f.Over(top, bottom):
            return f.Over(go(top), go(bottom))
        case f.Big(indices, where, body, ones):
            return f.Big(tuple((go(i), go(n)) for i, n in indices), maybe(where), go(body), tuple(map(go, ones)))
        case f.Relation(op, left, right):
            return f.Relation(op, go(left), go(right))
        case f.Listed(items):
            return f.Listed(tuple(map(go, items)))
        case f.Cases(options):
            return f.Cases(tuple((go(v), maybe(c)) for v, c in options))
    return e


def parts(e: Formula) -> Iterator[Formula]:
    """The formula, and all its parts, from outside to inside."""
    stack: list[Any] = [e]
    while stack:
        p = stack.pop()
        if isinstance(p, tuple):
            stack.extend(reversed(p))
        elif (names := getattr(p, "__match_args__", None)) is not None:
            yield p
            stack.extend([getattr(p, n) for n in reversed(names)])


def distinct(e: Any) -> Iterator[Formula]:
    """The parts of formulas; one that stands in several places is met once."""
    stack, met = [e], set[int]()
    while stack:
        p = stack.pop()
        if id(p) in met:
            continue
        met.add(id(p))
        if isinstance(p, tuple):
            stack.extend(p)
        elif (names := getattr(p, "__match_args__", None)) is not None:
            yield p
            stack.extend([getattr(p, n) for n in names])


def counted(wholes: Sequence[Formula]) -> list[tuple[Formula, int]]:
    """The parts of formulas, each once, in the order in which `parts` comes to them, and in how many places each is."""
    order, met, stack = list[Formula](), set[int](), list(reversed(wholes))
    while stack:
        p = stack.pop()
        if id(p) not in met:
            met.add(id(p))
            order.append(p)
            stack.extend(reversed(_inside(p)))
    times = Counter(id(p) for p in wholes)
    for p in _from_above(wholes):
        for q in _inside(p):
            times[id(q)] += times[id(p)]
    return [(p, times[id(p)]) for p in order]


def _inside(p: Any) -> list[Formula]:
    """What stands in a formula, not within what stands there."""
    out: list[Formula] = []
    pending = [getattr(p, n) for n in reversed(p.__match_args__)]
    while pending:
        q = pending.pop()
        if isinstance(q, tuple):
            pending.extend(reversed(q))
        elif hasattr(q, "__match_args__"):
            out.append(q)
    return out


def _from_above(wholes: Sequence[Formula]) -> Iterator[Formula]:
    """Each part once, after all in which it stands."""
    out: list[Formula] = []
    met, stack = set[int](), [(p, False) for p in wholes]
    while stack:
        p, after = stack.pop()
        if after:
            out.append(p)
        elif id(p) not in met:
            met.add(id(p))
            stack.append((p, True))
            stack.extend((q, False) for q in _inside(p))
    return reversed(out)


def tree(e: Any) -> Any:
    """A formula as data: the kind of each node and its parts, without those that it has none of."""
    if isinstance(e, tuple):
        return [tree(part) for part in e]
    if not is_dataclass(e):
        return e
    if isinstance(e, f.Name) and e.text in STATISTIC:
        return {"kind": "statistic", "text": STATISTIC.named(e.text)}
    held = ((field.name, getattr(e, field.name)) for field in fields(e) if field.init)
    return {"kind": type(e).__name__.lower(), **{n: tree(v) for n, v in held if v is not None and v != ()}}
