"""A log of a sum that holds latents: which addend an event is of is a discrete latent.

    y log(a_1 + a_2 + ...)  =  log of the sum, over the addends of y events, of the product of theirs

Each event is of addend k with weight a_k, whatever the others are of, so that the y events of a count are y equal
rows: one element that counts y times, as equal tokens of a document do. Given which addend it is the log is that of a
product, and what stands in it meets its prior again. Under mean-field this is the bound

    log(a_1 + a_2 + ...)  >=  sum over k of  p_k (E[log a_k] - log p_k)

(Poisson factorisation: Cemgil 2009; topics as shares of a Multinomial: Blei, Ng and Jordan 2003.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Idx, Ix
from emdsl.derive.joint.factors import Events, Factor, LogJoint
from emdsl.derive.joint.plates import home_of
from emdsl.derive.joint.terms import Block, Term, terms
from emdsl.language import model as m

EVENTS = frozenset({"count", "bool", "positive", "unit"})  # domains of what may say how many events there are


@dataclass(frozen=True)
class Addend:
    """One addend of a sum: the indices that it is summed over, and what is summed."""

    ixs: tuple[Ix, ...]
    body: Expr


def by_addends(joint: LogJoint, side: Block) -> LogJoint:
    """The joint in which each log of a sum with continuous latents is the log of one of its addends."""
    factors: list[Factor] = []
    for f in joint.factors:
        split = [(t, _log_of_sum(t, f, joint, side)) for t in terms(f, side)] if _may(f, joint) else []
        if not any(found for _, found in split):
            factors.append(f)
            continue
        for t, found in split:
            if found is None:
                factors.append(replace(f, gates=t.gates, masks=(), body=t.body, plates=t.ixs))
            else:
                joint, made = _chosen(f, t, *found, joint)
                factors += made
    return replace(joint, factors=tuple(factors))


def _may(f: Factor, joint: LogJoint) -> bool:
    """Whether it is the density of data, of which a row is told by its plates."""
    return f.role == "observed" and f.about not in joint.incomplete and any(
        isinstance(e, x.Fn) and e.name == "log" and isinstance(e.args[0], x.Add | x.Sum) for e in x.walk(f.body)
    )  # fmt: skip


def _log_of_sum(
    t: Term, f: Factor, joint: LogJoint, side: Block
) -> tuple[Expr, tuple[Addend, ...], tuple[Expr, ...]] | None:
    """(the log, the addends, how many events), where a term is a number of events times the log of a sum of positive
    numbers that no family closes."""
    logs = [e for e in t.factors if isinstance(e, x.Fn) and e.name == "log" and any(map(side, x.variables(e)))]
    if len(logs) != 1 or t.coef <= 0:
        return None
    found = _addends(_shared(logs[0].args[0], joint.model))
    latent = {v.name for v in joint.model.of_kind("latent")} - joint.discrete
    number = tuple(e for e in t.factors if e is not logs[0] and e not in f.masks)
    if (len(found) == 1 and not found[0].ixs) or not x.variables(logs[0]) & latent:
        return None
    if any("[" in i.dim for a in found for i in a.ixs):
        return None  # over rows: each has as many addends as it has rows
    if not all(x.positive(a.body) for a in found) or not all(_counts(e, joint.model) for e in number):
        return None
    return logs[0], found, number


def _shared(e: Expr, model: m.ModelText) -> Expr:
    """1 - sum_k q_k f_k = sum_k q_k (1 - f_k), where the q_k add up to 1; another expression as it is."""
    match e:
        case x.Add((x.Num(one), t)) | x.Add((t, x.Num(one))) if one == 1:
            coefficient, inner = x.split_number(t)
            if coefficient == -1 and isinstance(inner, x.Sum):
                parts = x.factors_of(inner.body)
                q = next(
                    (p for p in parts if isinstance(p, El) and p.idx[-1:] == (inner.ix,) and _adds_up(p, model)), None
                )
                if q is not None:
                    rest = x.mul(*(p for p in parts if p is not q))
                    return x.total(inner.ix, x.mul(q, x.add(x.ONE, x.neg(rest))))
    return e


def _adds_up(e: El, model: m.ModelText) -> bool:
    return any(v.name == e.var and v.domain.kind == "simplex" for v in model.variables)


def _addends(e: Expr) -> tuple[Addend, ...]:
    """The addends of a sum, those of sums in it one by one."""
    if isinstance(e, x.Add):
        return tuple(a for t in e.terms for a in _addends(t))
    if isinstance(e, x.Sum):
        ix, body = x.refresh(e)
        return tuple(replace(a, ixs=(ix, *a.ixs)) for a in _addends(body))
    sums = [f for f in x.factors_of(e) if isinstance(f, x.Sum)]
    if not sums:
        return (Addend((), e),)
    rest = [f for f in x.factors_of(e) if f is not sums[0]]
    return tuple(replace(a, body=x.mul(*rest, a.body)) for a in _addends(sums[0]))


def _counts(e: Expr, model: m.ModelText) -> bool:
    """Whether it is data that are no less than 0, or what such data leave of the most that they may be."""
    known = {v.name: v for v in model.variables if v.kind in ("observed", "given") and v.domain.kind in EVENTS}
    if isinstance(e, x.Add) and len(e.terms) == 2:
        for most, t in (e.terms, e.terms[::-1]):
            coefficient, y = x.split_number(t)
            if coefficient == -1 and isinstance(y, El) and y.var in known and _most(most, known[y.var].domain):
                return True
    return isinstance(e, El) and e.var in known


def _most(e: Expr, domain: m.Domain) -> bool:
    """Whether an expression is the upper end of a domain of counts."""
    end = domain.upper.base if isinstance(domain.upper, m.Index) else domain.upper
    if isinstance(e, El):
        return isinstance(end, m.Var) and end.name == e.var
    most = 1 if domain.kind == "bool" else end.value if isinstance(end, m.Num) else None
    return isinstance(e, x.Num) and e.value == most


def _chosen(
    f: Factor, t: Term, log: Expr, addends: Sequence[Addend], number: tuple[Expr, ...], joint: LogJoint
) -> tuple[LogJoint, list[Factor]]:
    """The joint with latents that say which addend, and the term given them: log of it, over their probabilities."""
    v = joint.model.variable(f.about)
    gated = {g.at for g in t.gates}
    own = tuple(i for i in f.plates if i in t.ixs)[: len(home_of(v))]
    more = tuple(i for i in t.ixs if i not in own and i not in gated)
    plates = (*v.plates, *(m.Plate(f"{v.name}_{n}", _size(i.dim)) for n, i in enumerate(more)))
    dims = [*([str(len(addends))] if len(addends) > 1 else []), *_dimensions(addends)]
    made = [_latent(v, plates, dim, joint, n) for n, dim in enumerate(dims)]
    place, home = (*own, *more), home_of(made[0])
    to: dict[Ix, Idx] = dict(zip(place, home, strict=True))
    there = () if t.gates else tuple(e for e in t.factors if e in f.masks)  # else all addends are alike where it is not
    number_here, there_here = (tuple(x.substitute(e, to) for e in some) for some in (number, there))
    joint = replace(
        joint, model=replace(joint.model, variables=(*joint.model.variables, *made)),
        levels={**joint.levels, **{u.name: d for u, d in zip(made, dims, strict=True)}},
        discrete=joint.discrete | {u.name for u in made},
        events=(*joint.events, Events(tuple(u.name for u in made), t.coef, number_here, there_here, log)),
    )  # fmt: skip
    states = [(u.name, x.fresh(d)) for u, d in zip(made, dims, strict=True)]
    out = _all_alike(f, t, number, states, place) if t.gates else []
    rest = x.mul(x.Num(t.coef), *(e for e in t.factors if e is not log))
    for n, a in enumerate(addends):
        body, which, idle = _selected(a, states[1:] if len(addends) > 1 else states)
        which += [(made[0].name, n)] if len(addends) > 1 else []
        alone = x.add(*(x.fn("log", x.SizeN(k.dim)) for _, k in (states if t.gates else ())))
        left = x.add(*(x.neg(x.fn("log", x.SizeN(k.dim))) for _, k in idle))
        gates = [x.Sel(El(name, place), at) for name, at in which]
        ixs = (*t.ixs, *(at for _, at in which if isinstance(at, Ix)))
        whole = x.mul(rest, x.add(x.fn("log", body), left, alone))
        out.append(replace(f, gates=(*t.gates, *gates), masks=(), body=whole, plates=ixs))
    return joint, out


def _selected(a: Addend, states: Sequence[tuple[str, Ix]]) -> tuple[Expr, list[tuple[str, Idx]], list[tuple[str, Ix]]]:
    """An addend at one element of its sums, which latents say so, and those that say nothing of it."""
    left: list[tuple[str, Ix]] = list(states)
    which: list[tuple[str, Idx]] = []
    chosen: dict[Ix, Idx] = {}
    for i in a.ixs:
        found = left.pop(next(n for n, (_, k) in enumerate(left) if k.dim == i.dim))
        which.append(found)
        chosen[i] = found[1]
    return x.substitute(a.body, chosen), which, left


def _all_alike(
    f: Factor, t: Term, number: Sequence[Expr], states: Sequence[tuple[str, Ix]], place: tuple[Ix, ...]
) -> list[Factor]:
    """Where another latent says that there is no such sum, addends are alike: their probabilities add up to 1."""
    out = []
    for name, k in states:
        body = x.mul(x.Num(-t.coef), *number, x.fn("log", x.SizeN(k.dim)))
        out.append(replace(f, gates=(x.Sel(El(name, place), k),), masks=(), body=body, plates=(*place, k)))
    return out


def _dimensions(addends: Sequence[Addend]) -> list[str]:
    """The dimensions of latents that say over which element of its sums an addend is taken, as few as do."""
    out: list[str] = []
    for a in addends:
        mine = [i.dim for i in a.ixs]
        for dim in dict.fromkeys(mine):
            out += [dim] * (mine.count(dim) - out.count(dim))
    return out


def _latent(v: m.Variable, plates: tuple[m.Plate, ...], dim: str, joint: LogJoint, n: int) -> m.Variable:
    taken = {u.name for u in joint.model.variables} | {s.name for s in joint.model.sizes}
    name = f"addend_of_{v.name}" if not n else f"addend_of_{v.name}_{n}"
    while name in taken:
        name += "_"
    return m.Variable("latent", name, plates, (), m.Domain("category", levels=_size(dim), span=v.span), span=v.span)


def _size(dim: str) -> m.Dim:
    return m.Dim.of(int(dim) if dim.isdigit() else dim)
