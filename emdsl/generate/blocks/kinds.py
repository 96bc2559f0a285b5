"""Rows of a precision that are alike: what it takes from data is compared once, and printed for one row of each kind.

    J[t]  =  sum of products  data(t) * parameters,   so that rows with equal data have equal J

A mask, the first step of a chain, a count of neighbours have few values, however long the chain is.
"""

from __future__ import annotations

from collections.abc import Sequence

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import DataIx, El, Expr, Idx, Ix
from emdsl.derive.joint.terms import Term
from emdsl.generate.blocks.once import made, product_of, summed_once
from emdsl.generate.context import KINDS, Function
from emdsl.generate.lines.arrays import Array, Leaf
from emdsl.generate.lines.kept import FIRST_ROW, SUM, SUMMED
from emdsl.generate.lines.spelling import numbered
from emdsl.generate.shared import RowKinds, Sums


def by_kind(f: Function, terms: Sequence[Term], home: tuple[Ix, ...], own: tuple[Ix, ...], block: str) -> str | None:
    """Code of a piece (home, own) as its values for each kind of row, with these kinds; None where what it takes from
    the rows is not data alone."""
    if f.sums is None or f.kinds is None or f.emitter.chunk is not None or not home or not terms:
        return None
    taken = [product_of(f, t, (*home, *own)) for t in terms]
    data = dict.fromkeys(e for factors in taken for e in factors if not set(home).isdisjoint(x.free(e)))
    fixed = [e for e in data if f.sums.known.holds(_without_sums(e))]
    if len(fixed) < len(data):
        return None
    name = f.kinds.name(tuple(sorted(data, key=repr)), home, block, f.equation)
    kind = Ix("kind", f"{name}[kinds]")
    axes = (kind, *own)
    parts = []
    for factors in taken:
        at = _at_kinds(factors, home, name, kind)
        carried = {i for e in at for i in x.free(e)}
        parts.append(f.emitter.contract(at, tuple(i for i in axes if i in carried)))
    value = f.emitter.broadcast(f.emitter.sum(parts), axes)
    return f'ByKind({value.code}, prepared["{KINDS}"]["{name}"])'


def _without_sums(e: Expr) -> Expr:
    """Sums of data are data, too."""
    return x.rebuild(e, lambda n: x.ONE if isinstance(n, El) and n.var in SUM else None)


def covariances_summed(f: Function, factors: Sequence[Expr], out: Sequence[Ix]) -> list[Expr]:
    """sum over t of data(t) cov[place(t), i, j] = S[i, j]: where nothing else carries t, covariances are summed by the
    weights that their own rows have, sum over t of data(t) [place(t) = s], which are data's. The factors with S."""
    found = [e for e in factors if isinstance(e, El) and e.var in f.covariances]
    if len(found) != 1 or f.sums is None:
        return list(factors)
    (cov,) = found
    code, n, dims = f.covariances[cov.var]
    places, own = cov.idx[: len(dims)], cov.idx[len(dims) :]
    summed = {i for p in places for i in x.free(x.value_of(p))}
    mine = [e for e in factors if e is not cov and not summed.isdisjoint(x.free(e))]
    if not summed or not summed.isdisjoint(out) or not all(f.sums.known.holds(_without_sums(e)) for e in mine):
        return list(factors)
    home, selectors = _own_rows(places, dims)
    em = f.emitter
    lead = em.order([i for e in mine for i in x.free(e) if i not in summed])
    weights = summed_once(f, [*mine, *selectors], (*lead, *home))
    value, kinds = _weights(f, weights, tuple(home), lead)
    got = em.name("summed", Array(f"{code}.summed({n}, {value}, {kinds})", lead, True))
    f.runtime[SUMMED.of(got.code)] = Leaf(got.code, tuple(range(len(lead) + len(own))), True)
    rest = [e for e in factors if e is not cov and e not in mine]
    return [*rest, El(SUMMED.of(got.code), (*lead, *own))]


def moments_summed(f: Function, factors: Sequence[Expr], out: Sequence[Ix]) -> list[Expr]:
    """sum over t of data(t) a[t, i] b[t, j] where a and b are vectors in each row that no data hold: one matrix product
    for each kind of rows, which have equal data. The factors with the sum."""
    rows = {i for e in factors for i in x.free(e) if f.sums is not None and i.dim in f.sums.known.rows}
    held = [e for e in factors if f.sums is not None and f.sums.known.holds(_without_sums(e))]
    if len(rows) != 1 or f.sums is None or f.kinds is None or f.emitter.chunk is not None:
        return list(factors)
    (row,) = rows
    mine = [e for e in held if row in x.free(e)]
    free = [e for e in factors if e not in held and row in x.free(e)]
    if row in out or not mine or len(free) != 2:
        return list(factors)
    em = f.emitter
    own = [tuple(i for i in em.order(x.free(e)) if i != row) for e in free]
    lead = tuple(i for i in em.order([i for e in mine for i in x.free(e)]) if i != row)
    axes = (*lead, *own[0], *own[1])
    selected = {i for e in factors if isinstance(e, x.Sel | x.Delta) for i in x.free(e)}
    if not own[0] or not own[1] or len(set(axes)) < len(axes) or set(axes) - set(out) or selected & set(axes):
        return list(factors)
    a, b = (em.broadcast(em.value(e), (*o, row)) for e, o in zip(free, own, strict=True))
    weights, kinds = _weights(f, mine, (row,), lead)
    got = em.name("summed", Array(f"moments_by_kind({a.code}, {b.code}, {weights}, {kinds})", axes, True))
    f.runtime[SUMMED.of(got.code)] = Leaf(got.code, tuple(range(len(axes))), True)
    rest = [e for e in factors if e not in mine and e not in free]
    return [*rest, El(SUMMED.of(got.code), axes)]


def _weights(f: Function, data: Sequence[Expr], home: tuple[Ix, ...], lead: tuple[Ix, ...]) -> tuple[str, str]:
    """Code of a product of data as its values for each kind of row, (lead, kinds), and of these kinds."""
    assert f.kinds is not None
    em, number = f.emitter, f.equation
    block = "_".join(dict.fromkeys(i.dim.rstrip("[]") for i in home))
    name = f.kinds.name(tuple(sorted(data, key=repr)), home, block, number)
    kind = Ix("kind", f"{name}[kinds]")
    at = _at_kinds(data, home, name, kind)
    axes = (*lead, kind)
    return em.broadcast(em.contract(at, axes), axes).code, f'prepared["{KINDS}"]["{name}"]'


def _at_kinds(factors: Sequence[Expr], home: Sequence[Ix], name: str, kind: Ix) -> list[Expr]:
    """Factors read at the first row of each kind."""
    to = {h: DataIx(El(FIRST_ROW.of(name, n), (kind,))) for n, h in enumerate(home)}
    return [x.substitute(e, to) for e in factors]


def _own_rows(places: Sequence[Idx], dims: Sequence[str]) -> tuple[list[Ix], list[Expr]]:
    """Indices for the rows themselves, and the selectors of those that are read elsewhere than at their own place."""
    home: list[Ix] = []
    selectors = []
    for p, dim in zip(places, dims, strict=True):
        plain = isinstance(p, Ix) and p not in home
        home.append(p if isinstance(p, Ix) and plain else x.fresh(dim))
        if not plain:
            selectors.append(x.sel(x.value_of(p), home[-1]))
    return home, selectors


def sums_and_kinds(sums: Sums, kinds: RowKinds, chunked: bool) -> list[str]:
    """The lines of `prepare` that add up data, and compare what precisions take from them."""
    lines = [f'out["{sums.key}"] = {made(sums, chunked)}'] if sums.found else []
    if kinds.found:
        lines.append(f'out["{KINDS}"] = kinds_of_data(out)')
        lines.append(f'sizes |= {{f"{{name}}[kinds]": len(kinds.first[0]) for name, kinds in out["{KINDS}"].items()}}')
    return lines


def kinds_lines(f: Function, kinds: RowKinds) -> list[str]:
    """`kinds_of_data(prepared)`: the kinds of rows of each piece of a precision."""
    if not kinds.found:
        return []
    em = f.emitter
    cells: list[str] = []
    for (data, home), name in kinds.found.items():
        columns: list[str] = []
        since, where = em.mark(), [n for n in kinds.readers[name] if n]
        for e in data:
            others = tuple(i for i in em.order(x.free(e)) if i not in home)
            columns.append(em.broadcast(em.value(e), (*others, *home)).code)
        shape = ", ".join(em.size(i.dim) for i in home)
        cells += numbered([f'"{name}": kinds_of([{", ".join(columns)}], ({shape},)),'], *where)
        em.number(since, *where)
    doc = '"""Rows of one kind: those from which a precision takes the same."""'
    body = [doc, 'sizes = prepared["the sizes"]', *f.prologue(), *em.outer, *em.lines]
    body += ["return {", *("    " + c for c in cells), "}"]
    return ["def kinds_of_data(prepared):", *("    " + line for line in body)]
