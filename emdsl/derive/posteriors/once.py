"""Sums of data that no parameter touches: they are added up once, before the first iteration.

    sum over n of  prod(data) * prod(the rest)  =  prod(the rest) * ( sum over n of prod(data) ),   the rest lacks n

What is read through data, `b[group[n]]`, is a product with a selector, sum_g [group[n] = g] b[g], and then lacks n.
So an iteration costs nothing in n where every factor that carries n is data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import DataIx, El, Expr, Idx, Ix
from emdsl.derive.algebra.made import FACTS, WEIGHT, among
from emdsl.derive.joint.plates import plate_indices
from emdsl.derive.joint.terms import Symmetry, canonical_form
from emdsl.language import model as m

NONE = Symmetry(frozenset())


@dataclass(frozen=True)
class Known:
    """What is known before the fit, and over which dimensions it is many."""

    data: frozenset[str]
    rows: frozenset[str]  # the plates of data and latents
    levels: Mapping[str, str]  # of data that point: the dimension they point into
    whole: str | None = None  # the plate that is read in chunks: sums are over all of it

    def holds(self, e: Expr) -> bool:
        """Whether an expression is data alone, and finite: logs of indicators are kept out of sums."""
        return all(n in self.data or _is_fact(n) for n in x.variables(e)) and not unbounded(e)


def _is_fact(name: str) -> bool:
    """Whether a name is of what data are like, `start:T`; a user's `start` has no colon."""
    return among(name, FACTS)


def known_data(model: m.ModelText, hidden: Iterable[str], tables: Iterable[str], whole: str | None) -> Known:
    """The data of a model but those with latent cells (`hidden`)."""
    data = [v for v in model.variables if v.kind in ("observed", "given") and v.name not in set(hidden)]
    rows = [i.dim for v in model.variables if v.kind != "param" for i in plate_indices(v.plates)]
    levels = {v.name: str(v.domain.levels) for v in data if v.domain.levels is not None}
    return Known(frozenset({*(v.name for v in data), *tables, WEIGHT}), frozenset(rows), levels, whole)


@dataclass(frozen=True)
class DataSum:
    """`S[axes] = sum of prod(factors)` over every other index of the factors, which are data."""

    factors: tuple[Expr, ...]
    axes: tuple[Ix, ...]


def taken_out(
    factors: Sequence[Expr], out: Sequence[Ix], known: Known
) -> tuple[DataSum, tuple[Ix, ...], list[Expr]] | None:
    """(the sum of data in its own indices, these axes as the product has them, the other factors); None if none.

    `out` are the indices of the product that are not summed.
    """
    pointed, selectors = _without_pointers(factors, known)
    for mine, found in ((list(factors), []), (pointed, selectors)):
        got = _split([*mine, *found], out, known)
        if got is not None and not _rows_of(got[1], known):
            break
    else:
        got = _split(list(factors), out, known)
    if got is None:
        return None
    data, rest = got
    kept = {i for f in rest for i in x.free(f)} | set(out)
    axes = tuple(i for i in dict.fromkeys(j for f in data for j in x.free(f)) if i in kept)
    many = {i for i in axes if i.dim in known.rows} | {f.at for f in data if isinstance(f, x.Sel) and f.at in axes}
    if len(many) > 1:
        return None  # a table of all pairs of elements, most of which no row has
    summed = {i.dim for f in data for i in x.free(f) if i not in axes}
    if known.whole is not None and known.whole not in summed:
        return None
    inside = tuple(dict.fromkeys(j for f in data for j in x.free(f)))
    marks = tuple(El("out", (i,)) for i in axes)
    _, names = canonical_form((*data, *marks), inside, NONE)
    to: dict[Ix, Idx] = dict(names)
    written = sorted((x.substitute(f, to) for f in data), key=repr)
    order = sorted(axes, key=lambda i: (names[i].name, i.dim))
    return DataSum(tuple(written), tuple(names[i] for i in order)), tuple(order), rest


def _split(factors: list[Expr], out: Sequence[Ix], known: Known) -> tuple[list[Expr], list[Expr]] | None:
    """Factors of data under a row that nothing else carries, and the others."""
    others = {i for f in factors if not known.holds(f) for i in x.free(f)} | set(out)
    alone = {i for f in factors for i in x.free(f) if i.dim in known.rows and i not in others}
    data = [f for f in factors if known.holds(f) and alone & set(x.free(f))]
    if not data:
        return None
    return data, [f for f in factors if f not in data]


def _rows_of(factors: Iterable[Expr], known: Known) -> set[Ix]:
    """Rows that factors still carry through data."""
    return {
        i for f in factors for e in x.walk(f) for p in getattr(e, "idx", ()) if isinstance(p, DataIx)
        for i in x.free(p.value) if i.dim in known.rows
    }  # fmt: skip


def _without_pointers(factors: Sequence[Expr], known: Known) -> tuple[list[Expr], list[Expr]]:
    """`b[group[n]]` as `b[g]`, and the selectors `[group[n] = g]`; a place that moves with an inner sum stays."""
    found: dict[Expr, Ix] = {}

    def moved(e: Expr, outside: frozenset[Ix]) -> Expr | None:
        if not isinstance(e, El) or not any(isinstance(i, DataIx) for i in e.idx):
            return None
        idx: list[Idx] = []
        for i in e.idx:
            at = i.value if isinstance(i, DataIx) and outside.issuperset(x.free(i.value)) else None
            if isinstance(at, El) and at.var in known.levels:
                if at not in found:
                    found[at] = x.fresh(known.levels[at.var])
                idx.append(found[at])
            else:
                idx.append(i)
        return El(e.var, tuple(idx), e.sort)

    out = [f if known.holds(f) else x.rebuild(f, partial(moved, outside=frozenset(x.free(f)))) for f in factors]
    return out, [x.sel(of, at) for of, at in found.items()]


def unbounded(e: Expr) -> bool:
    """Whether data can make it infinite: the log of an indicator."""
    return any(isinstance(n, x.Fn) and n.name == "log" and _indicates(n.args[0]) for n in x.walk(e))


def _indicates(e: Expr) -> bool:
    return (isinstance(e, x.Fn) and e.name in x.COMPARISONS) or (
        isinstance(e, x.Mul) and any(_indicates(f) for f in e.factors)
    )
