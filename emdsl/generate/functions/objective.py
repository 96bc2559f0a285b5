"""Printing what the data and the priors say of parameters: `log_likelihood_rows` and `log_prior`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Ix
from emdsl.derive.algebra.made import WEIGHT
from emdsl.derive.joint.plates import outermost
from emdsl.derive.joint.terms import Term
from emdsl.derive.joint.units import Units, units
from emdsl.generate.blocks.once import contracted
from emdsl.generate.lines.spelling import indent
from emdsl.generate.printer import Printer


def rows_lines(printer: Printer) -> list[str]:
    """Log-likelihood of each element of the outermost plate, where every term lies on it."""
    head = "def log_likelihood_rows(params, data, prepared):"
    doc = '"""Log-likelihood of each row of the outermost plate of the data."""'
    dim = printer.plan.weighted
    drawn = printer.plan.draws is not None
    whole = bool(printer.plan.elimination.parts) or drawn
    rows = [None if dim is None or whole else _by_row(printer, t, dim) for t in printer.plan.elimination.free]
    if not whole and (dim is None or any(r is None for r in rows)) and (found := units(printer.plan.joint)):
        grouped = [_by_unit(t, found) for t in printer.plan.elimination.free]
        if None not in grouped:
            return [head, *indent([GROUPS, *_by_groups(printer, [g for g in grouped if g], found.dim)], 1)]
    if dim is None or whole or any(r is None for r in rows):
        why = "the log-likelihood is no sum over one plate: its elements are tied by what they share"
        why = "mean-field has a bound of the whole, not of single rows" if whole else why
        why = "the E-step is a sample, which has no log-likelihood" if drawn else why
        way_out = (
            "objective_ is the log density together with the draws" if drawn else "score(data) has the mean of all"
        )
        return [head, *indent([doc, f'raise DataError("{why}", hint="{way_out}", code="D021")'], 1)]
    f = printer.reader()
    em = f.emitter
    total = em.namer.fresh("total")
    body: list[str] = []
    body.append(f"# ({printer.numbers.objective}) the log-likelihood, row by row")
    for bare, row in (r for r in rows if r is not None):
        _, outer = em.mark()
        with f.printing(printer.numbers.objective, behind=False):
            value = contracted(f, bare, (row,))
        em.number((len(em.lines), outer), printer.numbers.objective)
        body += em.lines
        em.lines = []
        body.append(f"{total} = {total} + {value.code}")
    length = em.size(dim) if not printer.chunk else em.namer.rows
    start = [f"{total} = np.zeros({length})"]
    if printer.chunk:
        parts = em.namer.fresh("parts")
        looped = printer.loop(f, [*start, *body, f"{parts}.append(honest({total}))"])
        lines = [*printer.opening(f), f"{parts} = [np.zeros(0)]", *looped, f"return np.concatenate({parts})"]
    else:
        lines = [*printer.opening(f), *start, *body, f"return honest({total})"]
    return [head, *indent([doc, *lines], 1)]


GROUPS = '"""Log-likelihood of each element of the plate whose latents its rows share."""'


def _by_unit(t: Term, found: Units) -> tuple[Term, Ix] | None:
    """A term without its weight as a sum over units, and their index."""
    factors = tuple(e for e in t.factors if not (isinstance(e, El) and e.var == WEIGHT))
    row = x.fresh(found.dim)
    for i in t.ixs:
        if i.dim == found.dim:
            return replace(t, factors=factors), i
        place = found.place(i)
        if place is not None:
            return replace(t, factors=(*factors, x.sel(x.value_of(place), row)), ixs=(*t.ixs, row)), row
    return None


def _by_groups(printer: Printer, terms: Sequence[tuple[Term, Ix]], dim: str) -> list[str]:
    """Lines that add the terms up by group: those of rows in the loop over chunks."""
    f = printer.reader()
    f.sums = None  # what only scores need is added up when they are asked for
    em = f.emitter
    total = em.namer.fresh("total")
    inside: list[str] = []
    after: list[str] = []
    for bare, row in terms:
        _, outer = em.mark()
        with f.printing(printer.numbers.objective, behind=False):
            value = contracted(f, bare, (row,))
        em.number((len(em.lines), outer), printer.numbers.objective)
        inside += em.lines
        em.lines = []
        (inside if value.inner else after).append(f"{total} = {total} + {value.code}")
    told = f"# ({printer.numbers.objective}) the log-likelihood, group by group"
    lines = [f"{total} = np.zeros({em.size(dim)})", told, *(printer.loop(f, inside) if inside else []), *after]
    return [*printer.opening(f), *lines, f"return honest({total})"]


def _by_row(printer: Printer, t: Term, dim: str) -> tuple[Term, Ix] | None:
    """A term without its weight, and the index over the outermost plate that it is a sum over.

    Rows of a ragged plate are added up within the element of the outermost plate that they lie in.
    """
    bare = replace(t, factors=tuple(e for e in t.factors if not (isinstance(e, El) and e.var == WEIGHT)))
    own = next((i for i in t.ixs if i.dim == dim), None)
    if own is not None:
        return bare, own
    for i in t.ixs:
        place = outermost(i, printer.plan.joint.model)
        if place != i:
            row = x.fresh(dim)
            return replace(bare, factors=(*bare.factors, x.sel(x.value_of(place), row)), ixs=(*t.ixs, row)), row
    return None


def log_prior_lines(printer: Printer) -> list[str]:
    """`log_prior(params, prepared)`: the terms that hold parameters alone."""
    f = printer.function()
    em = f.emitter
    em.chunk = None
    if printer.plan.elimination.prior:
        em.comment(f"({printer.numbers.objective}) the log priors and penalties", inner=False)
    with f.printing(printer.numbers.objective, behind=False):
        parts = [contracted(f, t, ()) for t in printer.plan.elimination.prior]
    total = em.sum(parts).code if parts else "0.0"
    lines = (['sizes = prepared["the sizes"]', *f.prologue(), *em.outer, *em.lines] if parts else []) + [
        f"return float({total})" + (f"  # ({printer.numbers.objective})" if parts else "")
    ]
    doc = '"""Log density of the priors and penalties at these parameters."""'
    return ["def log_prior(params, prepared):", *indent([doc, *lines], 1)]
