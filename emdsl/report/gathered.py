"""Sums whose terms stand over one denominator as one fraction: `a / s - b / s` is `(a - b) / s`."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Idx, Ix
from emdsl.report.factored import content
from emdsl.report.sums import apart, taken_out


def gathered(e: Expr) -> Expr:
    """The sum with its fractions gathered, in the order of the first of each; what is no sum as it is."""
    if not isinstance(e, x.Add):
        return e
    groups: dict[frozenset[Expr], list[Expr]] = {}
    for t in _under_sums(_logs(e.terms)):
        below = frozenset(p for p in x.factors_of(t) if divides(p))
        groups.setdefault(below or frozenset((t,)), []).append(t)
    return x.add(*(terms[0] if len(terms) == 1 else _over(below, terms) for below, terms in groups.items()))


def _logs(terms: Sequence[Expr]) -> list[Expr]:
    """`a log t + b log t` is `(a + b) log t`."""
    groups: dict[Expr, list[Expr]] = {}
    for t in terms:
        logs = [p for p in x.factors_of(t) if isinstance(p, x.Fn) and p.name == "log"]
        groups.setdefault(logs[0] if len(logs) == 1 else t, []).append(t)
    gathered = {log: own[0] if len(own) == 1 else x.mul(*_without(log, own), log) for log, own in groups.items()}
    return [gathered[log] for log in _in_order(list(gathered))]


def _in_order(logs: list[Expr]) -> list[Expr]:
    """`log p[0]`, `log p[1]` by their places, `log p` before `log(1 - p)`; what is no logarithm stays where it is."""
    places = [n for n, log in enumerate(logs) if isinstance(log, x.Fn) and log.name == "log"]
    out = list(logs)
    for n, log in zip(places, sorted((logs[n] for n in places), key=lambda e: _turn(e, logs)), strict=True):
        out[n] = log
    return out


def _turn(log: Expr, logs: Sequence[Expr]) -> tuple[int, tuple[int, ...], bool]:
    """Where a logarithm stands: where the first of its variable does, by places, what is left of 1 last."""
    assert isinstance(log, x.Fn)
    of = log.args[0]
    rest = x.add(x.ONE, x.neg(of)) if isinstance(of, x.Add) else of
    leaf, left = (rest, True) if isinstance(rest, El) and rest is not of else (of, False)
    if not isinstance(leaf, El) or not all(isinstance(i, int) for i in leaf.idx):
        return logs.index(log), (), False
    first = next(
        n for n, e in enumerate(logs) if isinstance(e, x.Fn) and e.name == "log" and leaf.var in x.variables(e)
    )
    return first, tuple(i for i in leaf.idx if isinstance(i, int)), left


def _without(factor: Expr, terms: Sequence[Expr]) -> tuple[Expr, Expr]:
    """The sum of the terms without a factor, its number apart."""
    beside = x.add(*(x.mul(*(p for p in x.factors_of(t) if p != factor)) for t in terms))
    c, rest = content(beside) if isinstance(beside, x.Add) else (Fraction(1), beside)
    return x.Num(c), rest


def _under_sums(terms: Sequence[Expr]) -> list[Expr]:
    """`sum_k a[k] / s[k] - sum_k b[k] / s[k]` is `sum_k (a[k] - b[k]) / s[k]`: sums over what stands below the line."""
    groups: list[tuple[list[Ix], frozenset[Expr], list[Expr]]] = []
    out: list[Expr | int] = []  # a term, or the number of a group
    for t in terms:
        c, factors, sums = apart(t)
        below = [p for p in factors if divides(p)]
        outer = [i for i in sums if any(i in x.free(p) for p in below)]
        if not outer:
            out.append(t)
            continue
        above = x.mul(x.Num(c), *(p for p in factors if not divides(p)))
        above = x.totals([i for i in sums if i not in outer], above)
        for own, under, tops in groups:
            same = [i.dim for i in own] == [i.dim for i in outer]
            names: dict[Ix, Idx] = dict(zip(outer, own, strict=True)) if same else {}
            if same and frozenset(x.substitute(p, names) for p in below) == under:
                tops.append(x.substitute(above, names))
                break
        else:
            out.append(len(groups))
            groups.append((outer, frozenset(below), [above]))
    return [_whole(*groups[e]) if isinstance(e, int) else e for e in out]


def _whole(outer: list[Ix], below: frozenset[Expr], tops: list[Expr]) -> Expr:
    e = _over(below, [x.mul(t, *sorted(below, key=repr)) for t in tops])
    return x.totals(outer, e)


def _over(below: frozenset[Expr], terms: list[Expr]) -> Expr:
    above = taken_out([x.mul(*(p for p in x.factors_of(t) if p not in below)) for t in terms])
    if not isinstance(above, x.Add):
        return x.mul(above, *sorted(below, key=repr))  # a set has another order in each process
    c, whole = content(above)
    order = [p for p in x.factors_of(terms[0]) if p in below]
    return x.mul(x.Num(c), whole, *order)


def divides(e: Expr) -> bool:
    """Whether a factor stands below the line."""
    return isinstance(e, x.Pow) and isinstance(e.exponent, x.Num) and e.exponent.value < 0
