"""Whose a variable is while terms are opened: a factor is taken apart only where two sides meet inside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from emdsl.derive.algebra.made import Kind

PARAMETER, KNOWN = "P", "D"
ASKED, REST = "V", "R"  # where only some variables are asked about
LATENT = Kind("L")  # of a continuous latent, by its name: each is a side of its own


def opens(side: str) -> bool:
    """Whether an expression of this side alone is opened down to its statistics, too."""
    return side == ASKED or side in LATENT


def side_in(kinds: Mapping[str, str]) -> Callable[[str], str]:
    """variable -> its side; what none has claimed is known."""
    return lambda name: kinds.get(name, KNOWN)
