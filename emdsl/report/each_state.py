"""What a sum has in each state of a latent stands in it once: `[z = 1] (a - b) - [z = 0] b` is `[z = 1] a - b`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Idx, Ix
from emdsl.derive.algebra.made import Q
from emdsl.report.conditions import in_one_order
from emdsl.report.known import SHORT
from emdsl.report.sums import apart

Literal = Mapping[str, int]


@dataclass(frozen=True)
class Gated:
    """A term as `gate beside (addends)`; `states` are those of the gate."""

    at: int
    states: frozenset[int]
    gate: tuple[Expr, ...]
    over: tuple[Ix, ...]  # what the gate alone is summed over
    beside: tuple[Expr, ...]
    addends: tuple[Expr, ...]


def once(terms: Sequence[Expr], literal: Literal) -> list[Expr]:
    """The terms of a sum, each addend that stands in all states of a latent, once in each, without its state."""
    groups: dict[tuple[Expr, int, tuple[Ix, ...], frozenset[Expr]], list[Gated]] = defaultdict(list)
    leads: dict[str, Ix] = {}
    for n, t in enumerate(terms):
        for key, count, sums, found in _gated(n, t, literal, leads):
            groups[key, count, sums, frozenset(found.beside)].append(found)
    for (_, count, sums, _), every in groups.items():
        if len(every) < 2:
            continue
        first: dict[Expr, Expr] = {}  # of addends that differ in the order of factors and the names of indices
        states: dict[Expr, list[int]] = defaultdict(list)
        for g in every:
            for a in g.addends:
                states[first.setdefault(_key(a), a)] += g.states
        shared = {a for a, own in states.items() if sorted(own) == list(range(count))}
        if shared:
            out: dict[int, list[Expr]] = {n: [t] for n, t in enumerate(terms)}
            for g in every:
                left = [a for a in g.addends if first[_key(a)] not in shared]
                body = x.totals(list(g.over), x.mul(*g.gate, *g.beside, x.add(*left)))
                out[g.at] = [x.totals(list(sums), body)] if left else []
            whole = [x.totals(list(sums), x.mul(*every[0].beside, a)) for a in states if a in shared]
            out[max(g.at for g in every)] += whole
            return once([t for own in out.values() for t in own], literal)
    return list(terms)


def _key(e: Expr) -> Expr:
    return x.alpha(in_one_order(x.alpha(e)))


def _gated(
    at: int, term: Expr, literal: Literal, leads: dict[str, Ix]
) -> Iterator[tuple[Expr, int, tuple[Ix, ...], Gated]]:
    """Each way in which a term stands in some states of a latent, its sums over indices that all terms call alike."""
    c, factors, sums = apart(term)
    for p in factors:
        found = _states(p, factors, sums, literal)
        if found is None:
            continue
        key, count, states, gate = found
        over = [i for i in sums if any(i in x.free(g) for g in gate) and i not in x.free(key)]
        rest = [q for q in factors if q not in gate]
        outer = [i for i in sums if i not in over]
        if any({*over} & {*x.free(q)} for q in rest) or len({i.dim for i in outer}) < len(outer):
            continue
        to: dict[Ix, Idx] = {i: leads.setdefault(i.dim, i) for i in outer}
        inner = [x.substitute(q, to) for q in rest]
        sum_at = next((k for k, q in enumerate(inner) if isinstance(q, x.Add)), None)
        whole = inner[sum_at] if sum_at is not None else x.ONE
        beside = tuple(q for k, q in enumerate(inner) if k != sum_at) if sum_at is not None else ()
        bare = x.mul(*inner) if sum_at is None else whole
        addends = tuple(x.mul(x.Num(c), a) for a in x.terms_of(bare))
        own = tuple(x.substitute(g, to) for g in gate)
        order = tuple(sorted((leads[i.dim] for i in outer), key=lambda i: i.dim))
        yield x.substitute(key, to), count, order, Gated(at, states, own, tuple(over), beside, addends)


def _states(
    p: Expr, factors: Sequence[Expr], sums: Sequence[Ix], literal: Literal
) -> tuple[Expr, int, frozenset[int], list[Expr]] | None:
    """What a factor says of the states of a latent: whose, of how many, which, and all factors that say so."""
    match p:
        case x.Sel(El(var), int(k)) if 1 < (count := literal.get(Q.of(var), 0)) <= SHORT:
            return p.of, count, frozenset((k,)), [p]
        case x.Sel(El(var), Ix() as i) if i in sums and 1 < (count := literal.get(Q.of(var), 0)) <= SHORT:
            asked = [q for q in factors if q is not p and i in x.free(q)]
            holds = [[x.substitute(q, {i: k}) for q in asked] for k in range(count)]
            if not asked or any(q not in (x.ZERO, x.ONE) for own in holds for q in own):
                return None
            return p.of, count, frozenset(k for k, own in enumerate(holds) if x.ZERO not in own), [p, *asked]
        case El(var, (int(k), *rest), sort) if 1 < (count := literal.get(var, 0)) <= SHORT:
            return El(var, (0, *rest), sort), count, frozenset((k,)), [p]
        case x.Add((El(var, (int(), *rest), sort), *_) as several) if 1 < (count := literal.get(var, 0)) <= SHORT:
            first = El(var, (0, *rest), sort)
            each = [e.idx[0] for e in several if isinstance(e, El) and replace(e, idx=(0, *e.idx[1:])) == first]
            states = frozenset(k for k in each if isinstance(k, int))
            return (first, count, states, [p]) if len(states) == len(several) else None
        case x.Delta() | x.Fn("eq" | "ne" | "gt" | "ge" | "lt" | "le" | "not"):
            own = tuple(x.free(p))
            if len(own) != 1 or x.variables(p) or own[0] in sums or not own[0].dim.isdigit() or int(own[0].dim) > SHORT:
                return None
            values = [x.substitute(p, {own[0]: k}) for k in range(int(own[0].dim))]
            if any(v not in (x.ZERO, x.ONE) for v in values):
                return None
            return x.Val(own[0]), len(values), frozenset(k for k, v in enumerate(values) if v == x.ONE), [p]
    return None


def addends(terms: Sequence[Expr]) -> int:
    """How many addends terms have, their sums opened."""
    return sum(addends(p.terms) if isinstance(p := _last(t), x.Add) else 1 for t in terms)


def _last(t: Expr) -> Expr:
    return next((p for p in apart(t)[1] if isinstance(p, x.Add)), t)
