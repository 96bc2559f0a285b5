"""What families have below and above a value, as expressions of the language: the mass that a cut domain leaves."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType

from emdsl.families.hazards import tails_within
from emdsl.language.model import Expr, Family


@cache
def _declared(file: str) -> Mapping[tuple[str, tuple[str, ...]], tuple[str, Expr]]:
    """(family, its arguments' names) -> the variate's name and the expression."""
    from emdsl.language import parse_families

    text = resources.files("emdsl.families").joinpath(file).read_text(encoding="utf-8")
    return MappingProxyType(
        {
            (f.name, tuple(a.name for a in s.arguments)): (f.x.name, s.log_density)
            for f in parse_families(text, file)
            for s in f.signatures
        }
    )


def tails(family: Family, signature: int) -> tuple[Expr, Expr] | None:
    """P(X <= x) and P(X > x) of one parameterisation; None where they are not known."""
    key = (family.name, tuple(a.name for a in family.signatures[signature].arguments))
    if family.user or key not in _declared("below.em"):
        return tails_within(family, signature)
    (name, below), (_, above) = _declared("below.em")[key], _declared("above.em")[key]
    return (below, above) if name == family.x.name else None
