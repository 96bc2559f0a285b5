"""From where sums count: from 1, as books do, unless the derivation calls an element of the plate by its number.

The language counts from 0, so beside `z[0]` and `t > 0` a sum over t starts at 0, and so do all sums as long as that.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from emdsl.report import formula as f
from emdsl.report.formula import Formula
from emdsl.report.page import Say, Show, Step
from emdsl.report.walking import parts, rebuilt

Axis = tuple[Formula, int]  # a name and which of its places; its values are at VALUE
VALUE = -1
ORDER = ("<", ">", "<=", ">=")


def counted(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps, with sums from 1 over what is never called by a number."""
    every = [p for s in steps for line in s.body if isinstance(line, Show) for p in parts(line.formula)]
    kept = _from_zero(every)
    return tuple(replace(s, body=tuple(_from_one(line, kept) for line in s.body)) for s in steps)


def _from_one(line: Say | Show, kept: set[Formula]) -> Say | Show:
    def step(e: Formula) -> Formula | None:
        if not isinstance(e, f.Big) or e.ones:
            return None
        ones = tuple(i for i, size in e.indices if size not in kept)
        again = rebuilt(e, lambda p: None if p is e else step(p))
        return replace(again, ones=ones) if isinstance(again, f.Big) else again

    return line if isinstance(line, Say) else replace(line, formula=rebuilt(line.formula, step))


def _from_zero(every: Sequence[Formula]) -> set[Formula]:
    """The sizes of which some element or level is called by a number, or is one that is computed with."""
    sizes: dict[Formula, set[Formula]] = defaultdict(set)
    standing: dict[Axis, set[Formula]] = defaultdict(set)
    named: set[Axis] = set()
    for p in every:
        for i, size in p.indices if isinstance(p, f.Big) else ():
            sizes[i].add(size)
        for axis, place in _axes(p):
            standing[axis].add(place)
            named |= set() if isinstance(place, f.Name | f.At | f.Word) else {axis}
    used = {i for p in every for i in _as_numbers(p)} | {i for axis in named for i in standing[axis]}
    return {size for i in used if i in sizes for size in sizes[i]}


def _axes(e: Formula) -> Iterator[tuple[Axis, Formula]]:
    """What stands at each place of a name, and what its value is compared with."""
    match e:
        case f.At(base, places):
            yield from (((base, n), p) for n, p in enumerate(places))
        case f.Relation("=", one, f.Name() | f.Number() as other):
            yield ((one.base if isinstance(one, f.At) else one), VALUE), other


def _as_numbers(e: Formula) -> Iterator[Formula]:
    """What a part computes with, and what it compares with a number."""
    match e:
        case f.Plus(terms):
            yield from (t for _, t in terms)
        case f.Times(several) | f.Apply(f.Word(), several):
            yield from several
        case f.Over(one, other) | f.Raised(one, other):
            yield from (one, other)
        case f.Relation(op, one, other) if op in ORDER or isinstance(other, f.Number):
            yield from (one, other)
