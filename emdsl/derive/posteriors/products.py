"""Products of elements of one continuous latent, as records: which rows hold them, and as which statistics."""

from __future__ import annotations

from dataclasses import dataclass

from emdsl.derive.algebra.expr import Ix
from emdsl.derive.joint.terms import Term
from emdsl.derive.posteriors.networks import Clique
from emdsl.derive.posteriors.roles import Role


@dataclass(frozen=True)
class Pattern:
    """Terms that hold the same statistics of a row's elements, in order of its places; own axes by index."""

    kinds: tuple[str, ...]
    slots: tuple[tuple[Ix, ...], ...]
    terms: tuple[Term, ...]

    @property
    def axes(self) -> tuple[Ix, ...]:
        return tuple(dict.fromkeys(i for own in self.slots for i in own))


@dataclass(frozen=True)
class Turn:
    """Rows that hold several elements, and what each is a multiple of.

    `shares` are (statistic, rest): what the rows add to the natural parameters of one element, the others averaged.
    """

    clique: Clique
    patterns: tuple[Pattern, ...]
    shares: tuple[tuple[Role, Term], ...]
