"""Formulas as they stand on paper: a small tree that each printer (text, LaTeX, MathML) walks.

Precedence is a property of a node, `level`; printers put brackets where a part's level is lower than its place asks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

RELATION, SUM, PRODUCT, POWER, ATOM = range(5)


@dataclass(frozen=True, slots=True)
class Name:
    """A name as the user wrote it (or one of ours, like `S_z_x`)."""

    text: str


@dataclass(frozen=True, slots=True)
class Number:
    """Digits."""

    text: str


@dataclass(frozen=True, slots=True)
class Word:
    """An upright word or operator that is no name: `log`, `observed`, `pi`."""

    text: str


@dataclass(frozen=True, slots=True)
class At:
    """`base[i, j]`."""

    base: Formula
    places: tuple[Formula, ...]


@dataclass(frozen=True, slots=True)
class Nth:
    """`base^(i)`: the point of a quadrature with this number."""

    base: Formula
    numbers: tuple[Formula, ...]


@dataclass(frozen=True, slots=True)
class Raised:
    """`base^exponent`; an exponent `T` transposes."""

    base: Formula
    exponent: Formula


@dataclass(frozen=True, slots=True)
class Plus:
    """Terms with their signs: True for one that is subtracted."""

    terms: tuple[tuple[bool, Formula], ...]
    known: int = field(init=False, compare=False, repr=False)  # its hash: one sum may stand in each of thousands

    def __post_init__(self) -> None:
        object.__setattr__(self, "known", hash(self.terms))

    def __hash__(self) -> int:
        return self.known


@dataclass(frozen=True, slots=True)
class Times:
    factors: tuple[Formula, ...]
    known: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "known", hash(self.factors))

    def __hash__(self) -> int:
        return self.known


@dataclass(frozen=True, slots=True)
class Over:
    """A fraction."""

    top: Formula
    bottom: Formula


@dataclass(frozen=True, slots=True)
class Root:
    body: Formula


@dataclass(frozen=True, slots=True)
class Big:
    """A sum over indices, each up to its size; `where` says which elements count. `ones` are counted from 1."""

    indices: tuple[tuple[Formula, Formula], ...]
    where: Formula | None
    body: Formula
    ones: tuple[Formula, ...] = ()


@dataclass(frozen=True, slots=True)
class Apply:
    """`function(arguments)`."""

    function: Formula
    arguments: tuple[Formula, ...]


@dataclass(frozen=True, slots=True)
class Bracket:
    """1 where the condition holds, else 0."""

    body: Formula


@dataclass(frozen=True, slots=True)
class Rows:
    """A matrix by its entries, row by row; a vector where each row is one entry."""

    rows: tuple[tuple[Formula, ...], ...]


@dataclass(frozen=True, slots=True)
class Mean:
    """`E[body | given]` under q."""

    body: Formula
    given: Formula | None = None


@dataclass(frozen=True, slots=True)
class Slope:
    """The derivative of `of` by `by`, of first or second order; by `by` and `other`, where there is one."""

    of: Formula
    by: Formula
    order: int = 1
    other: Formula | None = None


@dataclass(frozen=True, slots=True)
class Relation:
    """`left op right`, op one of = ~ < > <= >= != and or | proportional."""

    op: str
    left: Formula
    right: Formula


@dataclass(frozen=True, slots=True)
class Listed:
    """Formulas side by side, with commas."""

    items: tuple[Formula, ...]


@dataclass(frozen=True, slots=True)
class Cases:
    """Values with their conditions; a condition of None is "otherwise"."""

    options: tuple[tuple[Formula, Formula | None], ...]


Wide = Plus | Times | Over | Big | Relation | Listed | Cases
Formula = Name | Number | Word | At | Nth | Raised | Root | Apply | Bracket | Rows | Mean | Slope | Wide
Terms = tuple[tuple[bool, Formula], ...]


def level(f: Formula) -> int:
    """How tightly a formula holds together."""
    match f:
        case Relation() | Listed():
            return RELATION
        case Plus():
            return SUM
        case Times() | Over() | Big():
            return PRODUCT
        case Raised() | Slope():
            return POWER
    return ATOM


def less(a: Formula, b: Formula) -> Formula:
    return Plus(((False, a), (True, b)))


def listed(items: Sequence[Formula]) -> Formula:
    """Several side by side; one as it is."""
    return items[0] if len(items) == 1 else Listed(tuple(items))


def of(name: str, *arguments: Formula) -> Formula:
    """A function by its word, of something."""
    return Apply(Word(name), arguments)


def given(e: Formula, conditions: Sequence[Formula]) -> Formula:
    """What a function is of, where conditions hold: `x | z = k`."""
    return Relation("|", e, Listed(tuple(conditions))) if conditions else e


def times(*factors: Formula) -> Formula:
    """A product, flat; 1 where nothing is left."""
    flat: list[Formula] = []
    for f in factors:
        if isinstance(f, Times):
            flat += f.factors
        elif f != Number("1"):
            flat.append(f)
    if not flat:
        return Number("1")
    return flat[0] if len(flat) == 1 else Times(tuple(flat))


def over(number: Formula, value: Formula) -> Formula:
    """A number times a value; a fraction takes it in."""
    match number, value:
        case Over(Number(a), Number(b)), Over(top, bottom):
            upper = top if a == "1" else times(Number(a), top)
            return Over(upper, times(Number(b), bottom))
        case Number(), Over(top, bottom):
            return Over(times(number, top), bottom)
    return times(number, value)


def under(top: Formula, bottom: Formula) -> Formula:
    """A value over another; a fraction takes what divides it below its line."""
    match top:
        case Over(a, b) if not isinstance(b, Number):
            return Over(a, times(b, bottom))
    return Over(top, bottom)


def plus(*terms: Formula) -> Formula:
    """A sum, flat."""
    flat: list[tuple[bool, Formula]] = []
    for t in terms:
        flat += t.terms if isinstance(t, Plus) else [(False, t)]
    return Plus(tuple(flat))


def one_letter(word: str) -> bool:
    """Whether a word is a letter that mathematics sets in italics: of the Greek ones the small."""
    return len(word) == 1 and word.isalpha() and (word.isascii() or word.islower())


def in_rows(terms: Terms, size_of: Callable[[Formula], int], width: int, used: int = 0) -> list[Terms]:
    """The terms of a sum in rows no longer than `width`; each has `used` letters, or as much room, before it."""
    rows: list[list[tuple[bool, Formula]]] = [[]]
    length = used
    for term in terms:
        size = size_of(term[1]) + 3
        if rows[-1] and length + size > width:
            rows.append([])
            length = used
        rows[-1].append(term)
        length += size
    return [tuple(row) for row in rows]


def last(e: Big, index: Formula, size: Formula) -> Formula:
    """Where the sum over an index ends."""
    if index in e.ones:
        return size
    return Number(str(int(size.text) - 1)) if isinstance(size, Number) else Plus(((False, size), (True, Number("1"))))


def filtered(e: Big) -> Formula | None:
    """`t > 0` of a sum over t where t > 0: the condition says the index, too."""
    own = len(e.indices) == 1 and isinstance(e.where, Relation) and e.where.left == e.indices[0][0]
    return e.where if own else None


def conditioned(indices: tuple[tuple[Formula, Formula], ...], where: Formula | None) -> int:
    """Under which of several sums a condition stands: the last whose index it holds, else the last."""
    held = [n for n, (index, _) in enumerate(indices) if where is not None and holds(where, index)]
    return held[-1] if held else len(indices) - 1


def holds(e: Formula, index: Formula) -> bool:
    """Whether an index stands in a condition, a place, a sum or a product."""
    match e:
        case Relation(_, left, right):
            return holds(left, index) or holds(right, index)
        case At(base, places):
            return any(holds(part, index) for part in (base, *places))
        case Plus(terms):
            return any(holds(t, index) for _, t in terms)
        case Listed(items) | Times(items):
            return any(holds(part, index) for part in items)
    return e == index


def plain_log(e: Formula) -> bool:
    """`log a` of something that holds together: it needs no brackets where nothing follows."""
    simple = isinstance(e, Apply) and e.function == Word("log") and len(e.arguments) == 1
    if not simple or not isinstance(e, Apply):
        return False
    inner = e.arguments[0]
    function = isinstance(inner, Apply) and inner.function in (
        *map(Word, ("p", "q", "delta", "Gamma", "I0", "volume", "h", "g", "l", "v")),  # h, or what it is called
    )
    return function or isinstance(inner, Name | At | Nth | Number | Word)


def at(base: Formula, *places: Formula) -> Formula:
    return At(base, places) if places else base
