"""What the factors of a log density hold in every state of a latent, as one: `[z = 0] log 2 + [z = 1] log 2`."""

from __future__ import annotations

from collections.abc import Sequence

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import Expr, Ix
from emdsl.report.each_state import addends, once
from emdsl.report.known import Known
from emdsl.report.tidy import tidy


def in_all_states(shown: Sequence[tuple[tuple[Ix, ...], Expr]], known: Known) -> list[tuple[tuple[Ix, ...], Expr]]:
    """What factors hold in every state of a latent as one: `[z = 0] log 2 + [z = 1] log 2`."""
    out: dict[tuple[Ix, ...], list[Expr]] = {}
    for plates, e in shown:
        out.setdefault(plates, []).extend([e] if e != x.ZERO else [])
    whole = {plates: tidy(x.add(*own), known) for plates, own in out.items() if len(own) > 1}
    fewer = {plates for plates, e in whole.items() if len(x.terms_of(e)) < len(out[plates])}
    shown = [(plates, e) for plates, e in shown if plates not in fewer] + [(plates, whole[plates]) for plates in fewer]
    every = {x.totals(plates, term): (plates, term) for plates, e in shown for term in x.terms_of(e) if term != x.ZERO}
    met = once(list(every), known.literal)
    return [every.get(e, _outermost(e)) for e in met] if addends(met) < addends(list(every)) else shown


def _outermost(e: Expr) -> tuple[tuple[Ix, ...], Expr]:
    """What a term is summed over, all of it, and what is summed."""
    number, body = x.split_number(e)
    plates: list[Ix] = []
    while isinstance(body, x.Sum):
        plates.append(body.ix)
        body = body.body
    return tuple(plates), x.mul(x.Num(number), body)
