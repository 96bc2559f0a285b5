"""Whose a variable is while terms are opened: a factor is taken apart only where two sides meet inside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from emdsl.derive.algebra.made import Kind
from emdsl.derive.joint.factors import LogJoint

PARAMETER, KNOWN = "P", "D"
ASKED, REST = "V", "R"  # where only some variables are asked about
LATENT = Kind("L")  # of a continuous latent, by its name: each is a side of its own


def opens(side: str) -> bool:
    """Whether an expression of this side alone is opened down to its statistics, too."""
    return side == ASKED or side in LATENT


def side_in(kinds: Mapping[str, str]) -> Callable[[str], str]:
    """variable -> its side; what none has claimed is known."""
    return lambda name: kinds.get(name, KNOWN)


def classes(joint: LogJoint) -> Mapping[str, str]:
    """variable -> its side: a parameter, known, or a continuous latent, each a side of its own."""
    out = {}
    for v in joint.model.variables:
        if v.kind == "param":
            out[v.name] = PARAMETER
        elif v.name in joint.incomplete or (
            v.kind == "latent" and v.name not in joint.discrete | joint.deterministic | joint.in_clouds
        ):
            out[v.name] = LATENT.of(v.name)
        else:
            out[v.name] = KNOWN
    return out
