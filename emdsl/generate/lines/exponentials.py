"""Sums of exponentials under a logarithm or a fraction line: printed about their largest term.

log sum_k exp(a_k)  =  top + log sum_k exp(a_k - top)

exp(c) / sum_k exp(a_k)  =  exp(c - log sum_k exp(a_k))

As they stand they overflow from 710 and are lost below -745: a softmax of covariates in hundreds would be no number.
So do powers that only together are moderate, which therefore meet before any is taken:

x^a s^-a  =  exp(a (log x - log s))
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import Expr, Ix
from emdsl.derive.algebra.facts import positive
from emdsl.generate.lines.arrays import Array, Lines
from emdsl.generate.lines.spelling import Binding


def sums_exponentials(e: Expr) -> bool:
    """Whether `e` is a sum of exponentials, over indices or written out; positive numbers beside them are such, too."""
    if isinstance(e, x.Add):
        return all(isinstance(t, x.Num) or _exponent(t) is not None for t in e.terms) and all(
            t.value > 0 for t in e.terms if isinstance(t, x.Num)
        )
    return isinstance(e, x.Sum) and _exponent(e) is not None


def _exponent(e: Expr) -> tuple[tuple[Ix, ...], Expr] | None:
    """(indices, a) of sum exp(a) over these indices, a positive number before it counted in; None for anything else."""
    count, e = x.split_number(e)
    ixs: list[Ix] = []
    while isinstance(e, x.Sum):
        ixs.append(e.ix)
        e = e.body
    if not isinstance(e, x.Fn) or e.name != "exp" or count <= 0:
        return None
    return tuple(ixs), e.args[0] if count == 1 else x.add(x.fn("log", x.num(count)), e.args[0])


def log_of_sum(em: Lines, e: Expr) -> Array | None:
    """log sum exp about the largest term; None where `e` is no sum of exponentials alone."""
    if not sums_exponentials(e):
        return None
    out: Array | None = None
    for t in x.terms_of(e):
        log = em.value(x.fn("log", t)) if isinstance(t, x.Num) else _log_over_indices(em, t)
        if log is None:
            return None
        if out is not None:
            axes = em.order([*out.axes, *log.axes])
            code = f"np.logaddexp({em.align(out, axes)}, {em.align(log, axes)})"
            log = Array(code, axes, out.inner or log.inner)
        out = log
    return out


def _log_over_indices(em: Lines, e: Expr) -> Array | None:
    """The same of a sum over indices, or of one exponential."""
    found = _exponent(e)
    if found is None:
        return None
    ixs, body = found
    a = em.value(body)
    gone = [a.axes.index(i) for i in ixs if i in a.axes]
    if len(gone) != len(ixs):
        return None
    if not ixs:
        return a
    axis = str(gone[0]) if len(gone) == 1 else f"({', '.join(map(str, gone))})"
    return Array(f"log_sum_exp({a.code}, {axis})", tuple(i for i in a.axes if i not in ixs), a.inner)


def without_fractions(factors: Sequence[Expr]) -> list[Expr]:
    """The factors of a product, each exp(c) that stands over a sum of exponentials joined with it.

    Of a power of the sum each takes one, and the last what is left: exp(2 a) stands over a square.
    """
    out = list(factors)
    for below in [f for f in factors if isinstance(f, x.Pow) and sums_exponentials(f.base)]:
        match below.exponent:
            case x.Num(v) if v < 0 and v == int(v):
                above = [f for f in out if isinstance(f, x.Fn) and f.name == "exp"][: -int(v)]
            case _:
                continue
        if not above:
            continue
        out.remove(below)
        log = x.fn("log", below.base)
        for n, f in enumerate(above):
            times = 1 if n < len(above) - 1 else -int(v) - n
            out[out.index(f)] = x.fn("exp", x.add(f.args[0], x.mul(x.num(-times), log)))
    return out


def with_powers_met(factors: Sequence[Expr]) -> list[Expr]:
    """The factors of a product, powers of positive bases by multiples of one unknown exponent as one exponential."""
    met: dict[Expr, list[tuple[x.Pow, Expr, Fraction | float]]] = {}
    for f in factors:
        if isinstance(f, x.Pow) and not isinstance(f.exponent, x.Num) and positive(f.base):
            number, unknown = _apart(f.exponent)
            scale, key = _up_to_scale(unknown)
            met.setdefault(key, []).append((f, number, scale))
    out = list(factors)
    for key, powers in met.items():
        if len(powers) < 2:
            continue
        for f, number, _ in powers:
            out[out.index(f)] = x.power(f.base, number)
        logs = (x.mul(x.num(scale), x.fn("log", f.base)) for f, _, scale in powers)
        out.append(x.fn("exp", x.mul(key, x.add(*logs))))
    return [f for f in out if f != x.ONE] if len(out) > len(factors) else out


def _apart(exponent: Expr) -> tuple[Expr, Expr]:
    """The number in a sum, and the rest of it."""
    terms = x.terms_of(exponent)
    number = x.add(*(t for t in terms if isinstance(t, x.Num)))
    return number, x.add(*(t for t in terms if not isinstance(t, x.Num)))


def _up_to_scale(e: Expr) -> tuple[Fraction | float, Expr]:
    """(c, e / c), the same second for e and for its multiples."""
    terms = x.terms_of(e)
    scale, _ = x.split_number(terms[0])
    inverse = x.power(x.num(scale), x.num(-1))
    return scale, x.add(*(x.mul(inverse, t) for t in terms))


def of_difference(em: Lines, e: x.Pow) -> Array | None:
    """1 / (a - b) of every row, 0 where it is 1 / 0; None for any other power.

    Slopes of log(a - b) in a category's branch are made for all rows, and those of other categories, where a and b may
    have met, are multiplied by 0 afterwards.
    """
    match e:
        case x.Pow(x.Add() as base, x.Num(v)) if v < 0 and v == int(v) and not positive(base):
            a = em.value(base)
            if not a.axes or v == -1:
                return Array(f"reciprocal({a.code})", a.axes, a.inner) if a.axes else None
            once, rest = em.value(x.power(base, x.num(-1))), em.value(x.power(base, x.num(v + 1)))
            code = f"{once.code} ** 2" if v == -2 else f"{rest.code} * {once.code}"  # what numpy is quick at
            return Array(code, a.axes, a.inner, binds=Binding.PRODUCT)
        case _:
            return None
