"""Sums over the components of a vector as products of vectors: `sum_d (x[d] - m[d])^2` is `(x - m)' (x - m)`."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Ix
from emdsl.derive.algebra.made import PRESENT
from emdsl.derive.joint.factors import Factor, LogJoint
from emdsl.language.model import ModelText
from emdsl.report import formula as f
from emdsl.report.formula import Formula
from emdsl.report.typeset import Typeset
from emdsl.report.unicode import text
from emdsl.report.walking import parts

Summed = tuple[tuple[Ix, ...], Expr]  # what is summed over, and what is summed


def in_vectors(plates: tuple[Ix, ...], body: Expr, components: Collection[Ix], t: Typeset) -> Summed:
    """A density that is summed over plates and components: these inside, where all that holds them is of whole vectors
    then."""
    for i in [p for p in plates if p in components and not p.dim.isdigit()]:
        factors = x.factors_of(body)
        held = [p for p in factors if i in x.free(p)]
        if len(held) != 1:
            continue
        each = [_over(i, term) for term in x.terms_of(held[0])]
        whole = x.mul(*(x.add(*each) if p is held[0] else p for p in factors))
        left = tuple(p for p in plates if p != i)
        names = t.letters.extend({}, left)
        written = [t.of(e, names) for e in each]
        if not any(isinstance(p, f.Big) for e in written for p in parts(e)):
            plates, body = left, whole
    return plates, body


def _over(i: Ix, term: Expr) -> Expr:
    factors = x.factors_of(term)
    rest = [p for p in factors if i not in x.free(p)]
    inside = [p for p in factors if i in x.free(p)]
    return x.mul(*rest, x.Sum(i, x.mul(*inside)) if inside else x.SizeN(i.dim))


def components(factor: Factor, model: ModelText) -> list[Ix]:
    """The indices of a factor that run over components of the vector whose density it is."""
    v = next((v for v in model.variables if v.name == factor.about), None)
    if v is None:
        return []
    dims, states = {str(d) for d in v.domain.dims}, [g.at for g in factor.gates]
    return [i for i in factor.plates[len(v.plates) :] if i.dim in dims and i not in states]


def in_cells(joint: LogJoint, shown: Mapping[str, Formula]) -> list[str]:
    """The data of which single cells may be missing, though their density is shown without a sum over these."""
    found: dict[str, set[str]] = {}
    for factor in joint.factors:
        asked = {i for c in factor.masks if isinstance(c, El) and c.var in PRESENT for i in x.free(c)}
        found.setdefault(factor.about, set()).update(i.dim for i in components(factor, joint.model) if i in asked)
    over = {
        n: {text(size) for p in parts(e) if isinstance(p, f.Big) for _, size in p.indices} for n, e in shown.items()
    }
    return [n for n, dims in found.items() if n in shown and dims - over[n]]
