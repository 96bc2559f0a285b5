"""What a block's term is to its posterior: what it is a multiple of, hence which sum of the block it adds to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from emdsl.derive.algebra.expr import Ix
from emdsl.derive.joint.terms import Symmetry, Term, merge


@dataclass(frozen=True, slots=True)
class Monomial:
    """Of Gaussian latents, once each: of one it adds to h, of two to J."""

    latents: tuple[str, ...]

    @property
    def quadratic(self) -> bool:
        return len(self.latents) == 2


@dataclass(frozen=True, slots=True)
class Across:
    """Of two elements that a tie of the field holds: it adds to J beside the pair."""

    tie: int


@dataclass(frozen=True, slots=True)
class Edge:
    """Of the states of an element of a chain and of those before it."""


@dataclass(frozen=True, slots=True)
class Start:
    """Of the states at one of the first positions of a chain, which has fewer elements behind it."""

    position: int


Role = str | Monomial | Across | Edge | Start  # a word: of a statistic of the family, `id` or `log`; "": of nothing


def linear_in(latent: str) -> Monomial:
    return Monomial((latent,))


def quadratic_in(first: str, second: str) -> Monomial:
    return Monomial((first, second))


def by_role(terms: Sequence[Term], roles: Sequence[Role]) -> dict[Role, list[Term]]:
    found: dict[Role, list[Term]] = {}
    for term, role in zip(terms, roles, strict=True):
        found.setdefault(role, []).append(term)
    return found


def merge_roles(
    own_terms: Sequence[Term], roles: Sequence[Role], symmetry: Symmetry, fixed: tuple[Ix, ...]
) -> tuple[tuple[Term, ...], tuple[Role, ...]]:
    """Equal terms of one role added up."""
    if not roles:
        return tuple(merge(own_terms, symmetry, fixed)), ()
    out: list[tuple[Term, Role]] = []
    for role, mine in by_role(own_terms, roles).items():
        out += [(t, role) for t in merge(mine, symmetry, fixed)]
    return tuple(t for t, _ in out), tuple(r for _, r in out)
