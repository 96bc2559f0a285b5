"""Vectors of which some cells were seen and whose family is no Gaussian: counts of a known total, shares of a whole.

What was seen leaves the other cells a rest, and they share it as the family has it on fewer cells: a Multinomial of the
rest with the weights of the missing cells, a Dirichlet of their concentrations, scaled to it.
"""

from __future__ import annotations

from collections.abc import Sequence

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Ix
from emdsl.derive.algebra.show import show
from emdsl.derive.joint.records import FACTORIAL, HELD, Posterior, recognise
from emdsl.derive.joint.terms import Term
from emdsl.language import model as m

KNOWN_TOTAL = (
    "of counts, missing cells are integrated out where `trials = ...` tells their total and their weights are one "
    "table (`let w = [[...], [...]]`, `Multinomial(w[z[n]], trials = m[n])`); else drop these rows"
)


def may_be_held(v: m.Variable) -> bool:
    """Whether a family whose missing cells can be integrated out lives on elements of this kind."""
    return any(p.rank == len(v.domain.dims) and p.support == v.domain.kind for p in HELD)


def total_of(t: Term, name: str, own: Sequence[Ix]) -> Expr | None:
    """What all cells add up to, where a placed term says so: `log(sum_k x[k] == total)`."""
    match t.factors:
        case (x.Fn("log", (x.Fn("eq", (a, b)),)),):
            sides = x.add(a, x.neg(b))
            parts = x.terms_of(sides)
            for sign, part in ((s, e) for e in parts for s in (x.ONE, x.num(-1))):
                match x.mul(sign, part):
                    case x.Sum(ix, El(var=v, idx=idx)) if v == name and idx[-1:] == (ix,) and len(own) == 1:
                        total = x.mul(x.neg(sign), x.add(*(e for e in parts if e is not part)))
                        return None if name in x.variables(total) else total
    return None


def total_unknown(why: str, t: Term, name: str) -> str:
    """Why a placed term of an element with missing cells fits no family; `why` where it is no function of their sum."""
    sums = [e for f in t.factors for e in x.walk(f) if isinstance(e, x.Sum) and name in x.variables(e.body)]
    return f"its density holds {show(sums[0])}, which nothing tells where cells are missing" if sums else why


def held_record(
    v: m.Variable, statistics: frozenset[str], terms: Sequence[Term], roles: Sequence[str], totals: Sequence[Expr]
) -> Posterior | str:
    """The family of what is missing of an element; a text that says why there is none."""
    found = recognise(statistics, len(v.domain.dims), v, held=True)
    if isinstance(found, str) or FACTORIAL not in found.statistics:
        return found
    if not totals:
        return f"nothing says what the cells of {v.name} add up to, those that are missing included"
    if len(set(totals)) > 1:
        return f"the cells of {v.name} add up to different totals"
    own = [t for t, role in zip(terms, roles, strict=True) if role == FACTORIAL]
    if len(own) != 1 or own[0].coef != -1 or any(not isinstance(f, x.Delta) for f in own[0].factors):
        return f"{v.name} is a Multinomial in some branches alone"
    return found
