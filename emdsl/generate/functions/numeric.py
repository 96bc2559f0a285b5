"""Printing numeric M-steps: Q, its gradient and its Hessian as one function of the parameters, and the climb.

What holds data is added up over the chunks of rows; what does not stands before the loop.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import Expr, Ix
from emdsl.derive.joint.coefficients import axes_of
from emdsl.derive.joint.gradient import gradient
from emdsl.derive.updates.curvature import Curvature
from emdsl.derive.updates.medians import Distances
from emdsl.derive.updates.rules import Numeric
from emdsl.generate.blocks.chains import one_row, row_pieces, varies
from emdsl.generate.context import CHUNKS, Function
from emdsl.generate.lines.arrays import Array, Leaf
from emdsl.generate.lines.limits import bounds
from emdsl.generate.lines.spelling import indent, references

Products = tuple[tuple[Expr, ...], ...]  # each a product of factors, to be summed over all but some axes


IN_CACHE = 2**13  # numbers of a table of rows beside points: larger ones are fresh memory at every product


@dataclass(frozen=True)
class Quantity:
    """What the objective gives back: a sum of products on these axes."""

    hint: str
    axes: tuple[Ix, ...]
    products: Products
    behind: str = ""  # the number of its equation, where that has one of its own


def forget(f: Function, params: Sequence[str]) -> None:
    """What was computed from old values of parameters is not used again."""
    known = f.emitter.known
    f.emitter.named.clear()
    for e in [e for e in known if set(params) & x.variables(e)]:
        del known[e]


def _leave(f: Function, before: Mapping[Expr, Array]) -> None:
    """What has its lines within a loop is not known after it; what was known before is."""
    em = f.emitter
    em.named.clear()
    for e in [e for e, a in em.known.items() if a.inner]:
        del em.known[e]
    em.known.update({e: a for e, a in before.items() if e not in em.known})


def emit_numeric(f: Function, params: Sequence[str], rule: Numeric) -> None:
    """Several parameters raised jointly: Newton where the rule has a Hessian, else quasi-Newton."""
    if rule.medians:
        return _median(f, params[0], rule.medians)
    em, model = f.emitter, f.plan.joint.model
    codes = {n: em.leaf(n).code for n in params}
    target = _objective(f, params, rule, codes)
    start = ", ".join(f'"{n}": {codes[n]}' for n in params)
    domains = ", ".join(f'"{n}": "{model.variable(n).domain.kind}"' for n in params)
    limits = ", ".join(f'"{n}": ({", ".join(bounds(model.variable(n)))})' for n in params)
    found = em.namer.fresh("found")
    arguments = f"{target}, {{{start}}}, {{{domains}}}, {{{limits}}}"
    if rule.hessian is None:
        em.outer.append(f"{found} = maximise({arguments})")
    else:
        batch = ", ".join(f'"{n}": {places}' for n, places in rule.hessian.places)
        step = references(f.numbers.climb(params[0], "step"))
        em.outer.append(f"{found} = ascend({arguments}, {{{batch}}})  # {step}")
    for n in params:
        em.outer.append(f'{codes[n]} = {found}["{n}"]')


def _median(f: Function, name: str, medians: Sequence[Distances]) -> None:
    """The weighted median of what a parameter is compared with, which is gathered over the chunks of rows."""
    em = f.emitter
    chunk, lines, em.lines, kept = em.chunk, em.lines, [], dict(em.known)
    places, weights = em.namer.fresh(f"places_{name}"), em.namer.fresh(f"weights_{name}")
    looped = [d for d in medians if chunk is not None and any(i.dim == chunk for i in d.axes)]
    em.outer.append(f"{places}, {weights} = [], []")
    for some, within in (([d for d in medians if d not in looped], None), (looped, chunk)):
        em.chunk, em.lines = within, []
        for d in some:
            for target, value in ((places, em.value(d.at)), (weights, em.contract(list(d.weights), d.axes))):
                lead = ", ".join(em.length(i) for i in d.places)
                flat = f"np.reshape({em.broadcast(value, d.axes).code}, ({lead}{', ' if lead else ''}-1))"
                em.lines.append(f"{target}.append({flat})")
        body = [f"{em.namer.rows} = row_count(rows)", *em.lines] if within else em.lines
        em.outer += [f"for rows in {f.pieces}:", *indent(body, 1)] if within and some else em.lines
    em.chunk, em.lines = chunk, lines
    _leave(f, kept)
    code = em.leaf(name).code
    joined = ", ".join(f"np.concatenate({n}, axis=-1)" for n in (places, weights))
    em.outer.append(f"{code} = weighted_median({joined}, {code})")


def _objective(f: Function, params: Sequence[str], rule: Numeric, codes: Mapping[str, str]) -> str:
    """The nested function `objective(values)`: the value, the gradients by name; with a Hessian its parts.

    Then the value is given term by term: how large these are tells how far their sum can be trusted.
    """
    em, model = f.emitter, f.plan.joint.model
    original, kept, lines = em.leaf, dict(em.known), em.lines
    arguments = {n: em.namer.fresh(codes[n]) for n in params}
    forget(f, params)

    def leaf(n: str) -> Leaf:
        return Leaf(arguments[n], tuple(range(len(model.variable(n).shape))), True) if n in arguments else original(n)

    em.leaf, em.lines, em.guarded = leaf, [], True
    terms = tuple((x.Num(t.coef), *t.factors) for t in rule.whole)
    quantities = (
        [Quantity("total", (), terms)] if rule.hessian is None else [Quantity("total", (), (t,)) for t in terms]
    )
    first = len(quantities)
    slopes_of = [_slope(rule, n, axes_of(model.variable(n))) for n in params]
    if rule.hessian is not None:
        first_, second_ = (f"  # {references(f.numbers.climb(params[0], p))}" for p in ("gradient", "curvature"))
        slopes_of = [replace(q, behind=first_) for q in slopes_of]
        slopes_of += [replace(q, behind=second_) for q in _second(rule.hessian)]
    quantities += slopes_of
    names, body = _added_up(f, quantities)
    em.leaf, em.lines, em.guarded = original, lines, False
    _leave(f, kept)
    target, values = em.namer.fresh("objective"), em.namer.fresh("values")
    unpack = [f'{arguments[n]} = {values}["{n}"]' for n in params]
    slopes = ", ".join(f'"{n}": {code}' for n, code in zip(params, names[first:], strict=False))
    result = [names[0], f"{{{slopes}}}"]
    if rule.hessian is not None:
        result = [f"({', '.join(names[:first])},)", result[1], _parts(rule.hessian, names[first + len(params) :])]
    em.outer += [f"def {target}({values}):", *indent([*unpack, *body, f"return {', '.join(result)}"], 1)]
    return target


def pieces_of(f: Function, rules: Sequence[Numeric]) -> tuple[str, str] | None:
    """The plate along which passes over the data are cut, and code of its pieces, where edges of a chain differ from
    row to row or a latent stands at points, so that no table of all rows beside pairs of states or points is made;
    None where sums cannot be taken apart so."""
    for block in f.plan.elimination.blocks:
        if block.chain is not None and varies(block):
            dim = block.home[0].dim
            if all(one_row(dim, t.factors) for r in rules for t in r.whole):
                return dim, row_pieces(f, block)
    points = {c.dimension for c in f.plan.joint.clouds}
    every = [t.factors for r in rules for t in r.mixed]
    held = [{i.dim for g in factors for i in x.free(g)} for factors in every]
    if not held or not any(dims & points for dims in held):
        return None
    chosen = {g.at.dim for factors in every for g in factors if isinstance(g, x.Sel) and isinstance(g.at, Ix)}
    own = {str(d) for v in f.plan.joint.model.of_kind("param") for d in v.shape}
    for dim in sorted(set.intersection(*held) - points - chosen - own):
        if dim.isidentifier() and all(one_row(dim, factors) for factors in every):
            table = " * ".join(f.emitter.size(d) for d in sorted(set.union(*held) - {dim} - chosen))
            return dim, f"chunks({f.emitter.size(dim)}, max(1, {IN_CACHE} // max(1, {table})))"
    return None


def _slope(rule: Numeric, name: str, axes: tuple[Ix, ...]) -> Quantity:
    products = tuple((c, *factors, *_counts(factors, ixs)) for c, factors, ixs in gradient(rule.whole, name, axes))
    return Quantity(f"slope_{name}", axes, products)


def slopes_of(f: Function, rule: Numeric, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Code of the slopes of Q in some parameters, at the statistics and posteriors at hand, and the lines before."""
    model, f.emitter.guarded = f.plan.joint.model, True
    found = _added_up(f, [_slope(rule, n, axes_of(model.variable(n))) for n in names])
    f.emitter.guarded = False
    return found


def _second(hessian: Curvature) -> list[Quantity]:
    return [
        Quantity(
            f"curve_{part.left}",
            part.axes,
            tuple((p.coef, *p.factors, *_counts(p.factors, p.ixs)) for p in part.products),
        )
        for part in hessian.parts
    ]


def _parts(hessian: Curvature, codes: Sequence[str]) -> str:
    if hessian.low:
        return f"({', '.join(codes)})"
    keys = [f'("{part.left}", "{part.right}")' for part in hessian.parts]
    return "{" + ", ".join(f"{k}: {c}" for k, c in zip(keys, codes, strict=True)) + "}"


def _counts(factors: Sequence[Expr], ixs: Sequence[Ix]) -> list[Expr]:
    """An index that nothing carries counts its length."""
    carried = {i for g in factors for i in x.free(g)}
    return [x.SizeN(i.dim) for i in ixs if i not in carried]


def _added_up(f: Function, quantities: Sequence[Quantity]) -> tuple[list[str], list[str]]:
    """The code of each quantity, and the lines that make them: first what lacks the rows, then the loop over chunks."""
    em = f.emitter
    chunk = em.chunk

    def rows(product: Sequence[Expr]) -> bool:
        return chunk is not None and any(i.dim == chunk for g in product for i in x.free(g))

    looped = [q for q in quantities if any(rows(p) for p in q.products)]
    em.chunk = None
    codes = [_sum(f, q, [p for p in q.products if not rows(p)]) for q in quantities]
    if not looped:
        body, em.lines, em.chunk = em.lines, [], chunk
        return codes, body
    names = [em.namer.fresh(q.hint) if q in looped else code for q, code in zip(quantities, codes, strict=True)]
    before = [*em.lines, *(f"{n} = {c}" for n, c in zip(names, codes, strict=True) if n != c)]
    em.chunk, em.lines = chunk, []
    em.tables.clear()
    parts = [
        (n, f"{_sum(f, q, list(filter(rows, q.products)))}{q.behind}")
        for n, q in zip(names, quantities, strict=True)
        if q in looped
    ]
    inside = [f"{em.namer.rows} = row_count(rows)", *em.lines, *(f"{n} = {n} + {code}" for n, code in parts)]
    return names, [*before, f"for rows in {_small(f)}:", *indent(inside, 1)]


def _small(f: Function) -> str:
    """Code of the rows of a pass, cut where tables of pairs beside them were large."""
    em = f.emitter
    tables = [Counter(t) for t in em.tables if len(t) > 1]
    largest = [t for n, t in enumerate(tables) if not any(t < s or (t == s and m < n) for m, s in enumerate(tables))]
    if f.pieces != CHUNKS or not largest:
        return f.pieces
    sizes = ", ".join(" * ".join(em.size(d) for d in t.elements()) for t in largest)
    return f'one_by_one(in_pieces(prepared["the chunks"], {sizes}))'


def _sum(f: Function, q: Quantity, products: Sequence[Sequence[Expr]]) -> str:
    """The sum of products on exactly these axes; 0 where there are none."""
    em = f.emitter
    parts = []
    for p in products:
        carried = {i for g in p for i in x.free(g)}
        parts.append(em.contract(list(p), tuple(a for a in q.axes if a in carried)))
    return em.broadcast(em.sum(parts), q.axes).code if parts else "0.0"
