"""Expressions of loop names, sizes and literals evaluated on small sizes: what the compiler can know of an index."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

from emdsl.language.lengths import Lengths
from emdsl.language.model import Call, Dim, Expr, If, Loop, Num, Ragged, Size, SizeOf, walk

Guards = tuple[tuple[Expr, bool], ...]
_LARGEST = 10**12


@dataclass(frozen=True, slots=True)
class Sizes:
    """An assignment of small numbers to all sizes that respects the equations among them."""

    lengths: Lengths
    base: int
    step: int = 0  # sizes differ by so much, in the order of their names
    ragged: int = 5

    def __call__(self, size: Size) -> int:
        size = self.lengths.known(size)
        if isinstance(size, Ragged):
            return self.ragged
        size = self.lengths.reduced(size)
        return max(0, size.value({n: self.base + self.step * (sum(map(ord, n)) % 7) for n in size.names}))


def value(e: Expr, loops: Mapping[str, int], sizes: Sizes) -> int | None:
    """The integer, or None where it depends on data, a parameter or a latent."""
    match e:
        case Num(number):
            return number if isinstance(number, int) else None
        case Loop(name):
            return loops.get(name)
        case SizeOf(size):
            return sizes(size)
        case If(cond, then, other):
            truth = value(cond, loops, sizes)
            return None if truth is None else value(then if truth else other, loops, sizes)
        case Call("and" | "or" as fn, (a, b)):
            return _logic(fn, value(a, loops, sizes), value(b, loops, sizes))
        case Call(fn, args):
            numbers = [value(a, loops, sizes) for a in args]
            known = [n for n in numbers if n is not None]
            return _call(fn, known) if len(known) == len(numbers) and known else None
        case _:
            return None


def _logic(fn: str, a: int | None, b: int | None) -> int | None:
    decides = fn == "or"
    if any(x is not None and bool(x) == decides for x in (a, b)):
        return int(decides)
    return None if a is None or b is None else int(not decides)


def _call(fn: str, n: list[int]) -> int | None:
    out: int | None
    match fn:
        case "add":
            out = n[0] + n[1]
        case "sub":
            out = n[0] - n[1]
        case "mul":
            out = n[0] * n[1]
        case "neg":
            out = -n[0]
        case "floordiv":
            out = n[0] // n[1] if n[1] else None
        case "mod":
            out = n[0] % n[1] if n[1] else None
        case "min":
            out = min(n)
        case "max":
            out = max(n)
        case "abs":
            out = abs(n[0])
        case "eq" | "ne" | "lt" | "le" | "gt" | "ge":
            a, b = n
            out = int({"eq": a == b, "ne": a != b, "lt": a < b, "le": a <= b, "gt": a > b, "ge": a >= b}[fn])
        case "not":
            out = int(not n[0])
        case _:
            out = None
    return out if out is None or abs(out) < _LARGEST else None


def reached(guards: Guards, loops: Mapping[str, int], sizes: Sizes) -> bool | None:
    """Whether all guards hold; None where the data decide."""
    unknown = False
    for cond, holds in guards:
        truth = value(cond, loops, sizes)
        if truth is None:
            unknown = True
        elif bool(truth) != holds:
            return False
    return None if unknown else True


def assignments(loops: Mapping[str, Size], sizes: Sizes, most: int) -> Iterator[dict[str, int]]:
    """Every value of the loop names together; none at all where there would be more than `most`."""
    ranges = [range(sizes(size)) for size in loops.values()]
    total = 1
    for r in ranges:
        total *= len(r)
    if total > most:
        return
    for point in product(*ranges):
        yield dict(zip(loops, point, strict=True))


def simple_constants(e: Expr) -> int:
    """A number that bounds every integer literal in the expression."""
    return max((abs(x.value) for x in walk(e) if isinstance(x, Num) and isinstance(x.value, int)), default=0)


def shift(e: Expr) -> tuple[Loop, int] | None:
    """`t + 2` as (t, 2), `t - 1` as (t, -1), `t` as (t, 0)."""
    match e:
        case Loop():
            return e, 0
        case Call("add", (Loop() as loop, Num(c))) | Call("add", (Num(c), Loop() as loop)) if isinstance(c, int):
            return loop, c
        case Call("sub", (Loop() as loop, Num(c))) if isinstance(c, int):
            return loop, -c
        case _:
            return None


__all__ = ["Dim", "Sizes", "assignments", "reached", "shift", "simple_constants", "value"]
