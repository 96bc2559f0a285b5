"""Rows of a precision that are alike: what it takes from data is compared once, and printed for one row of each kind.

    J[t]  =  sum of products  data(t) * parameters,   so that rows with equal data have equal J

A mask, the first step of a chain, a count of neighbours have few values, however long the chain is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from emdsl.derive import expr as x
from emdsl.derive.expr import DataIx, El, Expr, Idx, Ix
from emdsl.derive.terms import Term
from emdsl.generate.arrays import Array, Leaf
from emdsl.generate.context import KINDS, Function
from emdsl.generate.once import Sums, made, product_of, summed_once
from emdsl.generate.spelling import numbered


@dataclass
class RowKinds:
    """What pieces of a precision take from data row by row, each under the name that its kinds have in `prepared`."""

    found: dict[tuple[tuple[Expr, ...], tuple[Ix, ...]], str] = field(default_factory=dict)
    readers: dict[str, dict[object, None]] = field(default_factory=dict)  # numbers of the equations they stand in

    def name(self, data: tuple[Expr, ...], home: tuple[Ix, ...], block: str, equation: object) -> str:
        key = (data, home)
        if key not in self.found:
            self.found[key] = f"{block}_{len(self.found) + 1}"
        self.readers.setdefault(self.found[key], {})[equation] = None
        return self.found[key]


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
    first = {h: f"first:{name}:{n}" for n, h in enumerate(home)}
    to = {h: DataIx(El(var, (kind,))) for h, var in first.items()}
    axes = (kind, *own)
    parts = []
    for factors in taken:
        at = [x.substitute(e, to) for e in factors]
        carried = {i for e in at for i in x.free(e)}
        parts.append(f.emitter.contract(at, tuple(i for i in axes if i in carried)))
    value = f.emitter.broadcast(f.emitter.sum(parts), axes)
    return f'ByKind({value.code}, prepared["{KINDS}"]["{name}"])'


def _without_sums(e: Expr) -> Expr:
    """Sums of data are data, too."""
    return x.rebuild(e, lambda n: x.ONE if isinstance(n, El) and n.var.startswith("sum:") else None)


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
    if weights:
        value = em.broadcast(em.contract(weights, (*lead, *home)), (*lead, *home)).code
    else:
        value = f"np.ones(({', '.join(em.length(i) for i in home)},))"
    got = em.name("summed", Array(f"{code}.summed({n}, {value}, {len(dims)})", lead, True))
    f.runtime[f"summed:{got.code}"] = Leaf(got.code, tuple(range(len(lead) + len(own))), True)
    rest = [e for e in factors if e is not cov and e not in mine]
    return [*rest, El(f"summed:{got.code}", (*lead, *own))]


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
