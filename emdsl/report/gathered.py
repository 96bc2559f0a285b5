"""Sums whose terms stand over one denominator as one fraction: `a / s - b / s` is `(a - b) / s`."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Idx, Ix
from emdsl.derive.algebra.made import STATISTIC, is_made
from emdsl.report.factored import content
from emdsl.report.sums import apart, taken_out


def gathered(e: Expr) -> Expr:
    """The sum with its fractions gathered, in the order of the first of each; what is no sum as it is."""
    if not isinstance(e, x.Add):
        return e
    groups: dict[frozenset[Expr], list[Expr]] = {}
    for t in _squares(_squares_in_sums(_under_sums(_logs(e.terms)))):
        below = frozenset(p for p in x.factors_of(t) if divides(p))
        groups.setdefault(below or frozenset((t,)), []).append(t)
    return x.add(*(terms[0] if len(terms) == 1 else _over(below, terms) for below, terms in groups.items()))


def _squares(terms: Sequence[Expr]) -> list[Expr]:
    """`a m S_x - a S_xx / 2 - a m^2 S / 2` is `-a (S_xx - 2 m S_x + m^2 S) / 2`: a precision before an open square."""
    for p in dict.fromkeys(p for t in terms for p in x.factors_of(t) if isinstance(p, El) and not is_made(p.var)):
        held = [t for t in terms if list(x.factors_of(t)).count(p) == 1]
        found = _open_square([x.mul(*(q for q in x.factors_of(t) if q != p)) for t in held])
        if found is not None:
            at = next(n for n, t in enumerate(terms) if t in held)
            rest = [t for t in terms if t not in held]
            return [*rest[:at], x.mul(x.Num(found[0]), p, found[1]), *rest[at:]]
    return list(terms)


def _squares_in_sums(terms: Sequence[Expr]) -> list[Expr]:
    """The same of sums over the same indices."""
    groups: dict[tuple[str, ...], list[tuple[Expr, Expr]]] = {}
    leads: dict[tuple[str, ...], list[Ix]] = {}
    for t in terms:
        c, factors, sums = apart(t)
        dims = tuple(i.dim for i in sums)
        if sums and len({*dims}) == len(dims):
            lead = leads.setdefault(dims, sums)
            body = x.substitute(x.mul(x.Num(c), *factors), dict(zip(sums, lead, strict=True)))
            groups.setdefault(dims, []).append((t, body))
    out = list(terms)
    for dims, own in groups.items():
        met = _squares([body for _, body in own])
        if len(met) < len(own):
            whole = [x.totals(leads[dims], body) for body in met]
            at = out.index(own[0][0])
            out = [t for t in out if t not in [t for t, _ in own]]
            out[at:at] = whole
    return out


def _open_square(terms: Sequence[Expr]) -> tuple[Fraction, Expr] | None:
    """The number before a square that stands open, and the square: some statistic alone has half, another the whole."""
    addends = [r for t in terms for r in _addends(t)]
    alone = [r for r in addends if _of_statistics(x.split_number(r)[1])]
    halves = {c for r in alone if abs(c := x.split_number(r)[0]) == x.HALF.value}
    if len(halves) != 1 or not any(x.split_number(r)[0] == -2 * c for r in addends for c in halves):
        return None
    whole = x.add(*alone, *(r for r in addends if r not in alone))
    return content(whole) if isinstance(whole, x.Add) else None


def a_square_apart(e: Expr) -> tuple[Expr, Fraction, Expr]:
    """`n / a + m S_x - S_xx / 2 - m^2 S / 2` as `n / a`, and -1/2 before `S_xx - 2 m S_x + m^2 S`."""
    terms = x.terms_of(e)
    held = [t for t in terms if not any(divides(p) for p in x.factors_of(t))]
    found = _open_square(held) if len(held) < len(terms) else None
    return (e, Fraction(0), x.ZERO) if found is None else (x.add(*(t for t in terms if t not in held)), *found)


def _addends(e: Expr) -> list[Expr]:
    """The terms of a product, its one sum opened."""
    c, rest = x.split_number(e)
    return [x.mul(x.Num(c), t) for t in x.terms_of(rest)]


def _of_statistics(e: Expr) -> bool:
    held = [n.var in STATISTIC for n in x.walk(e) if isinstance(n, El)]
    return bool(held) and all(held)


def by_statistic(e: Expr) -> Expr:
    """`S log a - S log 2 - S psi(a) + R` as `S (log(a / 2) - psi(a)) + R`."""
    groups: dict[Expr, list[Expr]] = {}
    for t in x.terms_of(e):
        own = [p for p in x.factors_of(t) if isinstance(p, x.SizeN) or (isinstance(p, El) and p.var in STATISTIC)]
        groups.setdefault(own[0] if len(own) == 1 else t, []).append(t)
    out = []
    for s, terms in groups.items():
        c, rest = _without(s, terms) if len(terms) > 1 else (x.ONE, x.ONE)
        whole = x.add(*map(_as_added, x.terms_of(rest)))
        out.append(x.mul(c, s, whole) if isinstance(whole, x.Add) else x.add(*terms))
    return x.add(*out)


def _as_added(t: Expr) -> Expr:
    """`-log 2` as `log(1/2)`, which joins other logarithms."""
    match x.split_number(t):
        case Fraction(numerator=-1, denominator=1), x.Fn("log", (x.Num(Fraction() as v),)) if v > 0:
            return x.Fn("log", (x.Num(1 / v),))
    return t


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
