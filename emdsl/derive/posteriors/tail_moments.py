"""What is told of a latent that is integrated out by its tails: its mean and second moment between the ends.

    E[t | t > a]      =  a + int_0^inf S(a + s) / S(a) ds
    E[t^2 | t > a]    =  a^2 + int_0^inf 2 (a + s) S(a + s) / S(a) ds
    E[t | a < t < b]  =  a + int_0^(b - a) (S(a + s) - S(b)) / (S(a) - S(b)) ds
    E[t | t < b]      =  b - int_0^(b - a) F(b - s) / F(b) ds  where half or less of it lies there, and a is its start

by the doubly exponential rule at fixed points (Takahasi and Mori 1974): functions of all else, as the tails are.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import Expr, Ix
from emdsl.derive.joint.truncation import Tails
from emdsl.derive.posteriors.cases import Piece

Moments = tuple[Expr, Expr]
HEAVY, ENDLESS = 1e-6, 1e200  # of an integral, at its last point; what it is multiplied by then
STEP, POINTS = x.Num(0.025), 337  # points exp(pi/2 sinh v) of the half line; of an interval their shares
PI = x.Fn("pi", ())


def _grid() -> tuple[Ix, Expr, Expr]:
    """An index over points, and pi/2 sinh v and its slope times the step at each."""
    q = x.fresh(str(POINTS))
    v = x.mul(STEP, x.add(x.Val(q), x.num(-(POINTS // 2))))
    up, down = x.fn("exp", v), x.fn("exp", x.neg(v))
    quarter = x.mul(x.Num(Fraction(1, 4)), PI)
    return q, x.mul(quarter, x.add(up, x.neg(down))), x.mul(STEP, quarter, x.add(up, down))


def moments(piece: Piece, tails: Tails, start: Expr | None) -> Moments:
    """The mean and the second moment of a piece; `start` is where the support starts, None on the line."""
    if piece.point is not None:
        return piece.point, x.power(piece.point, x.num(2))
    below, above = tails
    if piece.outside and piece.low is not None and piece.high is not None:
        under = _under(piece.low, start, below, above)
        return _mixed((below(piece.low), under), (above(piece.high), _beyond(piece.high, above)))
    low = start if piece.low is None else piece.low
    if piece.low is None and start is not None and piece.high is not None:
        few = x.fn("gt", above(piece.high), x.HALF)  # else what is left of 1 has no digits
        told = zip(_under(piece.high, None, below, above, start), _under(piece.high, start, below, above), strict=True)
        first, second = (x.Where(few, a, b) for a, b in told)
        return first, second
    if low is None and piece.high is None:
        return _mixed((below(x.ZERO), _under(x.ZERO, None, below, above)),
                      (above(x.ZERO), _beyond(x.ZERO, above)))  # fmt: skip
    if piece.high is None:
        assert low is not None
        return _beyond(low, above)
    return _under(piece.high, low, below, above)


def _mixed(*parts: tuple[Expr, Moments]) -> Moments:
    whole = x.power(x.add(*(p for p, _ in parts)), x.num(-1))
    first, second = (x.mul(whole, x.add(*(x.mul(p, found[k]) for p, found in parts))) for k in range(2))
    return first, second


def _beyond(low: Expr, above: Callable[[Expr], Expr]) -> Moments:
    """Those of what is above an end."""
    here = x.fn("log", above(low))

    def share(s: Expr) -> Expr:
        return x.fn("exp", x.add(x.fn("log", above(x.add(low, s))), x.neg(here)))

    return _from(low, 1, share, None)


def _under(
    high: Expr, low: Expr | None, below: Callable[[Expr], Expr], above: Callable[[Expr], Expr],
    start: Expr | None = None,
) -> Moments:  # fmt: skip
    """Those of what is below an end, and above another one where there is one; `start` is where the support starts."""
    if low is None:
        there = x.fn("log", below(high))
        width = None if start is None else x.add(high, x.neg(start))
        return _from(high, -1, lambda s: x.fn("exp", x.add(x.fn("log", below(x.add(high, x.neg(s)))), x.neg(there))),
                     width)  # fmt: skip
    here, end = x.fn("log", above(low)), x.fn("log", above(high))
    left = x.fn("exp", x.add(end, x.neg(here)))
    whole = x.power(x.add(x.ONE, x.neg(left)), x.num(-1))

    def share(s: Expr) -> Expr:
        now = x.fn("exp", x.add(x.fn("log", above(x.add(low, s))), x.neg(here)))
        return x.mul(x.add(now, x.neg(left)), whole)

    return _from(low, 1, share, x.add(high, x.neg(low)))


def _from(end: Expr, sign: int, share: Callable[[Expr], Expr], width: Expr | None) -> Moments:
    """`end + sign * int share(s) ds`, and the same of the square, over the half line or a width."""
    q, u, step = _grid()
    two = x.num(2)
    if width is None:
        s = x.fn("exp", u)
        weight = x.mul(step, s)
    else:
        part = x.fn("logistic", x.mul(two, u))
        s, weight = x.mul(width, part), x.mul(two, step, width, part, x.add(x.ONE, x.neg(part)))
    first, second = x.total(q, x.mul(weight, share(s))), x.total(q, x.mul(two, s, weight, share(s)))
    if width is None:  # a tail that is as heavy has no such moment
        last = x.substitute(s, {q: POINTS - 1})
        first = _or_infinite(first, x.mul(last, share(last)))
        second = _or_infinite(second, x.mul(last, last, share(last)))
    forth = x.num(sign)
    square = x.add(x.power(end, two), x.mul(forth, two, end, first), second)
    return x.add(end, x.mul(forth, first)), square


def _or_infinite(integral: Expr, last: Expr) -> Expr:
    """An integral that has not ended at its last point as a number that is none: where it does not count it is 0."""
    return x.mul(integral, x.add(x.ONE, x.mul(x.Num(ENDLESS), x.fn("gt", last, x.mul(x.Num(HEAVY), integral)))))
