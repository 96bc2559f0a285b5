"""Lengths equated: unknown lengths are solved for, named ones are set equal and remembered.

An unknown is a `Dim` of a name that no text can hold (`?3`); it is bound to the first length
that it must equal. Two named lengths that must be equal are recorded, as an equation for the data.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from emdsl.errors import NOWHERE, Span
from emdsl.language.model import Dim, Ragged, Shape, Size


@dataclass(slots=True)
class Lengths:
    """`solved`: unknown -> length. `named`: size -> an equal length with fewer names. `equal`: the equations."""

    solved: dict[str, Size] = field(default_factory=dict)
    named: dict[str, Dim] = field(default_factory=dict)
    equal: list[tuple[Size, Size, Span]] = field(default_factory=list)
    count: int = 0
    place: Span = NOWHERE  # where lengths are being equated, for rules that know no place themselves
    conflict: tuple[Size, ...] = ()  # the last two lengths that could not be equal

    def fresh(self) -> Dim:
        """A length to be found."""
        self.count += 1
        return Dim.of(f"?{self.count}")

    def known(self, size: Size) -> Size:
        """The length with solved unknowns put in."""
        while isinstance(size, Dim):
            name = next((n for n in size.names if n in self.solved), None)
            if name is None:
                return size
            value = self.solved[name]
            if isinstance(value, Ragged):
                return value  # an unknown bound to a ragged length stands alone
            size = replaced(size, name, value)
        return size

    def settle(self, shape: Shape) -> Shape:
        return tuple(self.known(size) for size in shape)

    def reduced(self, size: Dim) -> Dim:
        """The length with named equations put in as well, for comparing."""
        passed: list[str] = []
        for _ in range(len(self.named) + 1):
            name = next((n for n in size.names if n in self.named), None)
            if name is None:
                break
            if size.name == name:
                passed.append(name)
            else:
                passed.clear()
            size = replaced(size, name, self.named[name])
        for name in passed:  # shorter next time
            self.named[name] = size
        return size

    def equate(self, a: Size, b: Size, span: Span = NOWHERE) -> bool:
        """Sets two lengths equal; False where they cannot be."""
        a, b = self.known(a), self.known(b)
        done = self._equate(a, b, self.place if span is NOWHERE else span)
        self.conflict = () if done else (a, b)
        return done

    def because(self) -> str | None:
        """What fixed the named lengths of the last conflict: `D = 2 by line 4`."""
        names = {n for size in self.conflict if isinstance(size, Dim) for n in size.names if n in self.named}
        found = []
        for a, b, span in self.equal:
            if span is not NOWHERE and isinstance(a, Dim) and isinstance(b, Dim) and names & {*a.names, *b.names}:
                a, b = (b, a) if a.constant is not None else (a, b)
                found.append(f"{a} = {b} by line {span.line}")
        return "; ".join(dict.fromkeys(found[:4])) or None

    def _equate(self, a: Size, b: Size, span: Span) -> bool:
        if isinstance(a, Ragged) or isinstance(b, Ragged):
            return self._ragged(a, b)
        unknown = _linear(a - b, unknown=True)
        difference = self.reduced(a) - self.reduced(b)
        if difference.constant is not None:
            return difference.constant == 0
        unknown = unknown or _linear(difference, unknown=True)
        if unknown is not None:
            name, value = unknown
            self.solved[name] = value
            return True
        self.equal.append((a, b, span))
        named = _linear(difference, unknown=False)
        if named is not None:
            self.named[named[0]] = named[1]
        return not _never_zero(difference)

    def _ragged(self, a: Size, b: Size) -> bool:
        if isinstance(b, Dim):
            a, b = b, a
        if isinstance(a, Dim):
            if a.name is None or not a.name.startswith("?"):
                return False
            self.solved[a.name] = b
            return True
        assert isinstance(b, Ragged)
        return a.name == b.name and (a.by == b.by or "?" in (a.by, b.by))

    def equate_shapes(self, a: Shape, b: Shape, span: Span = NOWHERE) -> bool:
        return len(a) == len(b) and all(self.equate(x, y, span) for x, y in zip(a, b, strict=True))


def replaced(size: Dim, name: str, value: Dim) -> Dim:
    """The length with one name replaced by a length."""
    out = Dim(())
    for names, coefficient in size.terms:
        term = Dim.of(coefficient)
        for n in names:
            term = term * (value if n == name else Dim.of(n))
        out = out + term
    return out


def rename(size: Size, names: dict[str, Size]) -> Size:
    """The length with local names replaced."""
    if isinstance(size, Ragged):
        return size
    for name in size.names:
        value = names.get(name)
        if isinstance(value, Ragged):
            return value if size.name == name else size
        if value is not None:
            size = replaced(size, name, value)
    return size


def is_open(size: Size) -> bool:
    """True where an unknown is left in it."""
    return isinstance(size, Dim) and any(n.startswith("?") for n in size.names)


def _linear(difference: Dim, unknown: bool) -> tuple[str, Dim] | None:
    """`(name, value)` such that `name = value` makes the difference 0, for a name that stands once, linearly."""
    for names, coefficient in difference.terms:
        if len(names) != 1 or coefficient not in (1, -1) or names[0].startswith("?") != unknown:
            continue
        rest = Dim(tuple((n, c) for n, c in difference.terms if n != names))
        if names[0] not in rest.names:
            return names[0], rest * Dim.of(-coefficient)
    return None


def _never_zero(difference: Dim) -> bool:
    """True where one sign rules it out: sizes are positive, so `K + 1` or `K*Q + 2` is never 0."""
    signs = {coefficient > 0 for _, coefficient in difference.terms}
    return len(signs) == 1
