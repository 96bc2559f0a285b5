"""Sizes of a model from what is passed, what the data show, numbers of levels, and defaults.

A size expression ("K", "3", "Q + 1", "2*Q") is a polynomial with integer coefficients; an equation
between two of them is solved as soon as one unknown is left in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

from emdsl.runtime.data.faults import DataError

Polynomial = Mapping[tuple[str, ...], int]  # sorted names of a product -> coefficient


class Equation(NamedTuple):
    """`left = right`, and where that was seen ("axis 1 of x")."""

    left: str
    right: str
    source: str


class SizeValue(NamedTuple):
    """A size that is settled, and what settled it."""

    value: int
    source: str


def ragged_name(size: str) -> str | None:
    """`T` for the ragged length "T[s]", None for any other size."""
    return size.split("[")[0].strip() if "[" in size else None


@lru_cache(maxsize=4096)
def parse_size(text: str) -> Polynomial:
    """The polynomial of a size expression: sums and differences of products."""
    out: dict[tuple[str, ...], int] = {}
    for sign, term in re.findall(r"([+-]?)\s*([^\s+-][^+-]*)", text):
        coefficient, names = (-1 if sign == "-" else 1), []
        for factor in term.split("*"):
            if factor.strip().isdigit():
                coefficient *= int(factor)
            else:
                names.append(factor.strip())
        key = tuple(sorted(names))
        out[key] = out.get(key, 0) + coefficient
    return MappingProxyType(out)


def substitute_sizes(poly: Polynomial, known: Mapping[str, int]) -> Polynomial:
    """The polynomial left after known names are replaced; terms that cancel vanish."""
    out: dict[tuple[str, ...], int] = {}
    for names, coefficient in poly.items():
        left = tuple(n for n in names if n not in known)
        for n in names:
            coefficient *= known.get(n, 1)
        out[left] = out.get(left, 0) + coefficient
    return {names: c for names, c in out.items() if c}


def size_value(text: str, known: Mapping[str, int]) -> int:
    """The number that a size expression comes to; DataError where a name in it is unknown."""
    if text in known:
        return known[text]
    left = substitute_sizes(parse_size(text), known)
    if any(names for names in left):
        raise DataError(f"the size {text} is not determined", code="D010")
    return left.get((), 0)


def _root(poly: Polynomial, name: str) -> int | None:
    """The non-negative integer at which a polynomial in one name vanishes, or None."""
    if all(len(names) <= 1 for names in poly):
        quotient, rest = divmod(-poly.get((), 0), poly[(name,)])
        return quotient if rest == 0 and quotient >= 0 else None
    for value in range(100_000):
        if sum(c * value ** len(names) for names, c in poly.items()) == 0:
            return value
    return None


def _disagreement(equation: Equation, found: Mapping[str, SizeValue]) -> DataError:
    """Two sources of one size that differ, both named."""
    known = {n: f.value for n, f in found.items()}

    def side(text: str) -> str:
        names = sorted({n for key in parse_size(text) for n in key if n in found})
        because = "; ".join(f"{'' if n == text else f'{n} = {found[n].value} '}from {found[n].source}" for n in names)
        value = substitute_sizes(parse_size(text), known)
        shown = text if any(value) else str(value.get((), 0))
        return f"{text} is {shown} ({because})" if because else text

    declared = f"the model has {equation.left}" if equation.left.isdecimal() else side(equation.left)
    return DataError(f"sizes disagree: {declared}, but {equation.source} gives {side(equation.right)}", code="D011")


@lru_cache(maxsize=4096)
def _difference(left: str, right: str) -> Polynomial:
    out = dict(parse_size(left))
    for names, c in parse_size(right).items():
        out[names] = out.get(names, 0) - c
    return MappingProxyType(out)


def settle_sizes(found: dict[str, SizeValue], equations: Sequence[Equation]) -> None:
    """Solve, in `found`, every equation that has one unknown left, until none has; check the rest."""
    known = {n: f.value for n, f in found.items()}
    waiting, before = list(equations), -1
    while len(waiting) != before:
        trying, waiting, before = waiting, [], len(waiting)
        for equation in trying:
            if equation.right.isdecimal() and equation.left.isidentifier():  # what an axis says: no algebra
                length = int(equation.right)
                if known.setdefault(equation.left, length) == length:
                    found.setdefault(equation.left, SizeValue(length, equation.source))
                    continue
            rest = substitute_sizes(_difference(equation.left, equation.right), known)
            unknown = {n for names in rest for n in names}
            if not unknown and rest:
                raise _disagreement(equation, found)
            if len(unknown) == 1:
                name = unknown.pop()
                value = _root(rest, name)
                if value is None:
                    raise DataError(
                        f"{equation.source}: no whole number {name} makes {equation.left} = {equation.right}",
                        code="D011",
                    )
                known[name], found[name] = value, SizeValue(value, equation.source)
            elif unknown:
                waiting.append(equation)


class Levels(NamedTuple):
    """A number of levels seen in the data: `size` is at least `seen`."""

    size: str
    seen: int
    source: str


def _levels_of(found: Mapping[str, SizeValue], levels: Iterable[Levels]) -> dict[str, SizeValue]:
    """The least that each size can be: the largest label plus one."""
    best: dict[str, SizeValue] = {}
    for level in levels:
        rest = substitute_sizes(parse_size(level.size), {n: f.value for n, f in found.items()})
        names = [n for n in rest if n]
        if len(names) != 1 or len(names[0]) != 1 or rest[names[0]] < 1:
            continue
        name, slope = names[0][0], rest[names[0]]
        value = max(1, -((rest.get((), 0) - level.seen) // slope))
        if name not in best or value > best[name].value:
            best[name] = SizeValue(value, level.source)
    return best


def solve_sizes(
    declared: Mapping[str, int | str | None],
    passed: Mapping[str, SizeValue],
    axes: Sequence[Equation],
    equal: Sequence[Equation],
    levels: Callable[[Mapping[str, int]], Iterable[Levels]],
) -> dict[str, int]:
    """Every declared size as a number.

    Sources in order: `passed`, `axes` of the data, lengths that are `equal` by use (literals among
    them), defaults, `levels`: these are the least that a size can be, so that more of them than a default
    says count, and fewer do not. Raises DataError where two sources disagree, or
    where nothing determines a size. `levels` sees the sizes settled so far.
    """
    found = dict(passed)
    settle_sizes(found, axes)
    equations = [*axes, *equal]
    if equal:
        settle_sizes(found, equations)
    least = _levels_of(found, levels({n: f.value for n, f in found.items()}))
    for name in [n for n in least if declared.get(n) is None]:
        if name not in found:
            found[name] = least[name]
            settle_sizes(found, equations)
    waiting, before = [n for n, default in declared.items() if default is not None and n not in found], -1
    while len(waiting) != before:  # a default may speak of a size that a later default settles
        before = len(waiting)
        for name in waiting:
            known = {n: f.value for n, f in found.items()}
            if name not in known and not any(substitute_sizes(parse_size(str(declared[name])), known)):
                default = SizeValue(size_value(str(declared[name]), known), "its default")
                found[name] = max(default, least.get(name, default))
                settle_sizes(found, equations)
        waiting = [n for n in waiting if n not in found]
    missing = [name for name in declared if name not in found]
    if missing:
        raise DataError(
            f"nothing determines the size {', '.join(missing)}: no data axis has it and it has no default",
            hint=f"pass it: {missing[0]}=3",
            code="D012",
        )
    return {name: f.value for name, f in found.items()}
