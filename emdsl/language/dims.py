"""Lengths: integer polynomials in named sizes, and the lengths of ragged plates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Dim:
    """A length: an integer polynomial in named sizes, in canonical form.

    `terms` holds sorted tuples of size names with their coefficients: `Q + 1` is `(((), 1), (("Q",), 1))`.
    """

    terms: tuple[tuple[tuple[str, ...], int], ...]

    @staticmethod
    def of(value: str | int) -> Dim:
        if isinstance(value, int):
            return Dim((((), value),) if value else ())
        return Dim((((value,), 1),))

    def _merge(self, other: Dim, sign: int) -> Dim:
        out = dict(self.terms)
        for names, coefficient in other.terms:
            out[names] = out.get(names, 0) + sign * coefficient
        return Dim(tuple(sorted((n, c) for n, c in out.items() if c)))

    def __add__(self, other: Dim) -> Dim:
        return self._merge(other, 1)

    def __sub__(self, other: Dim) -> Dim:
        return self._merge(other, -1)

    def __mul__(self, other: Dim) -> Dim:
        out: dict[tuple[str, ...], int] = {}
        for n1, c1 in self.terms:
            for n2, c2 in other.terms:
                key = tuple(sorted(n1 + n2))
                out[key] = out.get(key, 0) + c1 * c2
        return Dim(tuple(sorted((n, c) for n, c in out.items() if c)))

    @property
    def constant(self) -> int | None:
        """The number, where no size takes part."""
        if not self.terms:
            return 0
        return self.terms[0][1] if len(self.terms) == 1 and self.terms[0][0] == () else None

    @property
    def name(self) -> str | None:
        """The size's name, where the length is a single named size."""
        return (
            self.terms[0][0][0]
            if len(self.terms) == 1 and len(self.terms[0][0]) == 1 and self.terms[0][1] == 1
            else None
        )

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(sorted({n for names, _ in self.terms for n in names}))

    def value(self, sizes: Mapping[str, int]) -> int:
        total = 0
        for names, coefficient in self.terms:
            for n in names:
                coefficient *= sizes[n]
            total += coefficient
        return total

    def __str__(self) -> str:
        return _spelled(self.terms)


@lru_cache(maxsize=10_000)
def _spelled(terms: tuple[tuple[tuple[str, ...], int], ...]) -> str:
    out = ""
    for names, c in sorted(terms, key=lambda t: (-len(t[0]), t[0])):
        body = "*".join(([str(abs(c))] if abs(c) != 1 or not names else []) + list(names))
        out += (" - " if c < 0 else " + ") + body
    return (out[3:] if out.startswith(" + ") else out.strip()) or "0"


@dataclass(frozen=True, slots=True)
class Ragged:
    """The length `T[s]` of a ragged plate: its own for each element `s` of an enclosing plate."""

    name: str  # "T"
    by: str  # "s", the loop name it depends on

    def __str__(self) -> str:
        return f"{self.name}[{self.by}]"


Size = Dim | Ragged
Shape = tuple[Size, ...]
