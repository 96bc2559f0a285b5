"""Domains: typed from the text, joined over branches, compared with a family's own."""

from __future__ import annotations

from dataclasses import replace

from emdsl.errors import nearest
from emdsl.language import syntax as s
from emdsl.language.expressions import scalar
from emdsl.language.integers import DISCRETE
from emdsl.language.model import Dim, Domain, DomainKind, Expr, Shape
from emdsl.language.positions import length
from emdsl.language.scope import Env, wrong

# kind -> (least, most number of lengths in its brackets; None: any)
_BRACKETS: dict[DomainKind, tuple[int, int | None]] = {
    "real": (0, None), "positive": (0, None), "unit": (0, None), "bool": (0, None), "count": (0, None),
    "category": (1, 1), "index": (1, 1), "simplex": (1, 1), "spd": (1, 1), "ordered": (1, 1), "correlation": (1, 1),
    "zero_sum": (1, 1),
}  # fmt: skip
_BOUNDED = frozenset({"real", "positive", "unit", "count"})
_SQUARE = frozenset({"spd", "correlation"})
STRUCTURED = frozenset({"simplex", "spd", "ordered", "correlation", "zero_sum"})


def domain_of(text: s.DomainText, env: Env) -> Domain:
    """The domain that a text names. Raises Stop."""
    kind = next((k for k in _BRACKETS if k == text.name), None)
    if kind is None:
        near = nearest(text.name, list(_BRACKETS))
        hint = f"did you mean `{near}`?" if near else f"domains: {', '.join(_BRACKETS)}"
        habits = {"int": "count", "integer": "count", "vector": "real[D]", "matrix": "real[D, Q]", "float": "real",
                  "probability": "unit", "cov_matrix": "spd[D]", "boolean": "bool"}  # fmt: skip
        if text.name in habits:
            hint = f"write `{habits[text.name]}`"
        raise wrong("E027", f"there is no domain `{text.name}`", text.span, hint)
    written = text.dims or ()
    least, most = _BRACKETS[kind]
    if len(written) < least or (most is not None and len(written) > most):
        form = f"`{kind}[K]`" if kind not in _SQUARE else f"`{kind}[D]`, a D x D matrix"
        raise wrong("E027", f"`{kind}` takes one length", text.span, f"write {form}")
    sizes = tuple(length(n, env) for n in written)
    lower, upper = _bounds(text, kind, env)
    if kind in ("category", "index"):
        return Domain(kind, (), sizes[0], span=text.span)
    dims: Shape = sizes * 2 if kind in _SQUARE else sizes
    return Domain(kind, dims, None, lower, upper, text.span)


def _bounds(text: s.DomainText, kind: str, env: Env) -> tuple[Expr | None, Expr | None]:
    found: dict[str, Expr] = {}
    for bound in text.bounds:
        if bound.name not in ("min", "max") or kind not in _BOUNDED:
            hint = "bounds are `min` and `max`, of real, positive, unit and count"
            raise wrong("E027", f"`{kind}` takes no `{bound.name}`", bound.span, hint)
        if bound.name in found:
            raise wrong("E027", f"`{bound.name}` is given twice", bound.span)
        found[bound.name] = scalar(bound.value, env, "a bound")
    return found.get("min"), found.get("max")


def joined(a: Domain, b: Domain, env: Env) -> Domain | None:
    """The narrowest domain that holds both; None where their shapes differ."""
    lengths = env.scope.lengths
    if len(a.dims) != len(b.dims) or not lengths.equate_shapes(a.dims, b.dims, b.span):
        return None
    if a.kind == b.kind:
        if a.levels is not None and b.levels is not None and not lengths.equate(a.levels, b.levels, b.span):
            return None
        same = a.lower == b.lower and a.upper == b.upper
        return a if same else replace(a, lower=None, upper=None)
    kinds = {a.kind, b.kind}
    if kinds == {"bool", "category"}:  # 0 and 1 are the first of its levels
        category = a if a.kind == "category" else b
        known = lengths.known(category.levels) if category.levels is not None else None
        return b if isinstance(known, Dim) and known.constant == 1 and b.kind == "bool" else category
    if kinds <= DISCRETE:
        return Domain("count", a.dims, span=a.span)
    if kinds == {"unit", "positive"}:
        return Domain("positive", a.dims, span=a.span)
    return Domain("real", a.dims, span=a.span)


def allows(declared: Domain, own: Domain) -> str | None:
    """Why a variable of the declared domain cannot have a family about `own`; None where it can."""
    if own.kind in ("simplex", "spd") and declared.kind not in (
        own.kind,
        "correlation" if own.kind == "spd" else own.kind,
    ):
        return f"the family is about `{own.kind}`, the variable is declared `{declared.kind}`"
    if (
        declared.kind in ("simplex", "spd", "correlation")
        and own.kind not in STRUCTURED
        and len(own.dims) < len(declared.dims)
    ):
        return None
    discrete = (declared.kind in DISCRETE, own.kind in DISCRETE)
    if discrete[0] != discrete[1]:
        words = {True: "integers", False: "real numbers"}
        return f"the family is about {words[discrete[1]]}, the variable is declared `{declared.kind}`"
    if own.kind == "category" and declared.kind == "count":
        return None
    return None
