"""Domains: typed from the text, joined over branches, compared with a family's own."""

from __future__ import annotations

from dataclasses import replace

from emdsl.errors import nearest
from emdsl.language import syntax as s
from emdsl.language.expressions import scalar
from emdsl.language.kinds import KINDS, DomainKind
from emdsl.language.model import Dim, Domain, Expr, Shape
from emdsl.language.positions import length
from emdsl.language.scope import Env, wrong

_WHOLE = "`count`, or `index[K]` and `category[K]` for numbers from 0 to K - 1"
HABITS: dict[str, str] = {
    **dict.fromkeys(("int", "integer"), _WHOLE),
    **dict.fromkeys(("float", "number", "double"), "`real`"),
    **dict.fromkeys(("prob", "probability", "proportion"), "`unit`"),
    **dict.fromkeys(("cov", "covariance", "cov_matrix"), "`spd[D]`"),
    **{"vector": "`real[D]`", "matrix": "`real[D, Q]`", "boolean": "`bool`", "corr_matrix": "`correlation[D]`"},
}  # what other languages call a domain


def domain_of(text: s.DomainText, env: Env) -> Domain:
    """The domain that a text names. Raises Stop."""
    kind = next((k for k in KINDS if k == text.name), None)
    if kind is None:
        near = nearest(text.name, list(KINDS))
        hint = f"did you mean `{near}`?" if near else f"domains: {', '.join(KINDS)}"
        if text.name in HABITS:
            hint = f"write {HABITS[text.name]}"
        raise wrong("E027", f"there is no domain `{text.name}`", text.span, hint)
    written, row = text.dims or (), KINDS[kind]
    if len(written) < row.least or (row.most is not None and len(written) > row.most):
        form = f"`{kind}[K]`" if not row.symmetric else f"`{kind}[D]`, a D x D matrix"
        more = f"; `param name[N] : {kind}[K]` is N of them" if len(written) > 1 and not row.symmetric else ""
        raise wrong("E027", f"`{kind}` takes one length", text.span, f"write {form}{more}")
    sizes = tuple(length(n, env) for n in written)
    lower, upper = _bounds(text, kind, env)
    if kind in ("category", "index"):
        return Domain(kind, (), sizes[0], span=text.span)
    dims: Shape = sizes * 2 if row.symmetric else sizes
    return Domain(kind, dims, None, lower, upper, text.span)


def _bounds(text: s.DomainText, kind: DomainKind, env: Env) -> tuple[Expr | None, Expr | None]:
    found: dict[str, Expr] = {}
    for bound in text.bounds:
        if bound.name not in ("min", "max") or not KINDS[kind].bounded:
            *some, last = (k for k, row in KINDS.items() if row.bounded)
            hint = f"bounds are `min` and `max`, of {', '.join(some)} and {last}"
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
    if a.discrete and b.discrete:
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
    if declared.kind in ("simplex", "spd", "correlation") and not own.structured and len(own.dims) < len(declared.dims):
        return None
    discrete = (declared.discrete, own.discrete)
    if discrete[0] != discrete[1]:
        words = {True: "integers", False: "real numbers"}
        return f"the family is about {words[discrete[1]]}, the variable is declared `{declared.kind}`"
    return None
