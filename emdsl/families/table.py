"""All records by name, the prelude, and the ways from a family's declaration to its record."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from inspect import cleandoc
from types import MappingProxyType

from emdsl.families.continuous import CONTINUOUS
from emdsl.families.kernels_discrete import DISCRETE
from emdsl.families.kernels_vector import VECTOR
from emdsl.families.posteriors import POSTERIORS
from emdsl.families.records import Form, Record
from emdsl.language.model import Family, FamilyCall

RECORDS: Mapping[str, Record] = MappingProxyType({r.name: r for r in (*DISCRETE, *CONTINUOUS, *VECTOR, *POSTERIORS)})


@cache
def PRELUDE() -> Mapping[str, Family]:
    """The families of `prelude.em`, by name."""
    from emdsl.language import parse_families

    text = resources.files("emdsl.families").joinpath("prelude.em").read_text(encoding="utf-8")
    return MappingProxyType({f.name: f for f in parse_families(text, "prelude.em")})


def record(family: Family) -> Record | None:
    """The record of a family of the prelude; None for a user's own."""
    return None if family.user else RECORDS.get(family.name)


def form(family: Family, signature: int) -> Form | None:
    """The form that computes one of the prelude's signatures; None for one that a user has declared or added.

    Rows stand in the order of the declarations.
    """
    found = record(family)
    if found is None or signature >= len(found.forms):
        return None
    names = tuple(a.name for a in family.signatures[signature].arguments)
    return found.forms[signature] if found.forms[signature].arguments == names else None


@cache
def mixture(family: Family) -> tuple[FamilyCall, FamilyCall] | None:
    """(the latent scale's distribution, the variate's given it) in the family's arguments; None where none is known."""
    from emdsl.language import parse_model

    found = record(family)
    if found is None or not found.mixture:
        return None
    model = parse_model(cleandoc(found.mixture), "mixture.em", PRELUDE())
    scale, own = (model.variable(n).distribution for n in ("scale", "x"))
    assert isinstance(scale, FamilyCall) and isinstance(own, FamilyCall)
    return scale, own
