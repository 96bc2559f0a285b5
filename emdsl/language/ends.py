"""Of what the ends of a domain speak: what data decide before anything is fitted, of each element or of all."""

from __future__ import annotations

from emdsl.language.model import Dim, Expr, ModelText, Variable
from emdsl.language.transform import names_in


def of_givens(e: Expr, model: ModelText) -> bool:
    """Whether an expression speaks of numbers, sizes and givens of even plates alone."""
    givens = {v.name for v in model.of_kind("given") if all(isinstance(p.size, Dim) for p in v.plates)}
    return names_in(e) <= givens


def of_data(e: Expr, model: ModelText) -> bool:
    """The same of givens and of what is observed, as conditions of plates may be."""
    data = [v for kind in ("given", "observed") for v in model.of_kind(kind)]
    return names_in(e) <= {v.name for v in data if all(isinstance(p.size, Dim) for p in v.plates)}


def known_of_each(e: Expr, v: Variable, model: ModelText) -> bool:
    """Whether givens decide an end of each element of a variable; those of ragged and filtered plates are not laid
    out as its values are."""
    return all(isinstance(p.size, Dim) and p.condition is None for p in v.plates) and of_givens(e, model)
