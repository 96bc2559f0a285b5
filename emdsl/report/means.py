"""Sums over the points of a quadrature as the means that they are: `sum_a q(b^(a)) f(b^(a))` is `E[f(b)]`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Ix
from emdsl.derive.algebra.made import Q as Q_OF
from emdsl.derive.joint.factors import POINTS
from emdsl.report import formula as f
from emdsl.report.formula import Formula
from emdsl.report.page import Say, Show
from emdsl.report.walking import parts, rebuilt

UNSIZED = f.Word("")  # how many points there are, no size of the model says


def data_apart(e: Expr) -> Expr:
    """`sum_a q(b^(a)) (b^(a) - y)` as `sum_a q(b^(a)) b^(a) - y`: what no point holds is its own mean."""

    def step(n: Expr) -> Expr | None:
        sums, body = list[Ix](), n
        while isinstance(body, x.Sum):
            sums.append(body.ix)
            body = body.body
        factors = x.factors_of(body)
        weights = [p for p in factors if isinstance(p, El) and p.var in Q_OF]
        added = [p for p in factors if isinstance(p, x.Add)]
        for ix in (i for i in sums if i.dim.endswith(POINTS)):
            others = [p for p in factors if p not in weights and p not in added]
            if len(weights) == len(added) == 1 and not any(ix in x.free(p) for p in others):
                apart = [t for t in added[0].terms if ix not in x.free(t)]
                held = (t for t in added[0].terms if t not in apart)
                whole = x.totals(sums, x.mul(weights[0], x.add(*held), *others))
                rest = [i for i in sums if i != ix]
                return x.add(whole, x.totals(rest, x.mul(x.add(*apart), *others))) if apart else None
        return None

    return x.rebuild(e, step)


def with_means(body: Sequence[Say | Show]) -> tuple[Say | Show, ...]:
    """The lines of a step, sums over points as means."""
    return tuple(replace(e, formula=as_means(e.formula)) if isinstance(e, Show) else e for e in body)


def as_means(e: Formula) -> Formula:
    """The formula with every sum over points that the probabilities of these weigh, and those of nothing else."""

    def step(n: Formula) -> Formula | None:
        if not isinstance(n, f.Big):
            return None
        for at, (index, size) in enumerate(n.indices):
            averaged = _averaged(n.body, index) if size == UNSIZED else None
            if averaged is not None:
                left = (*n.indices[:at], *n.indices[at + 1 :])
                return as_means(replace(n, indices=left, body=averaged) if left else averaged)
        return None

    return rebuilt(e, step)


def _averaged(e: Formula, index: Formula) -> Formula | None:
    """`q(b^(a)) c f(b^(a))` as `c E[f(b)]`; what divides is averaged too where it holds the point."""
    if isinstance(e, f.Over):
        if _holds(e.bottom, index):
            return _mean(e.top, index, e.bottom)
        top = _averaged(e.top, index)
        return None if top is None else f.Over(top, e.bottom)
    return _mean(e, index)


def _mean(e: Formula, index: Formula, below: Formula | None = None) -> Formula | None:
    factors = e.factors if isinstance(e, f.Times) else (e,)
    weights = [p for p in factors if _is_weight(p, index)]
    if len(weights) != 1:
        return None
    rest = [p for p in factors if p not in weights]
    held = [p for p in rest if _holds(p, index)]
    if not held and below is None:
        return f.times(*rest)  # the probabilities of all points sum to one
    inside = f.times(*held) if below is None else f.Over(f.times(*held), below)
    at = rest.index(held[0]) if held else len(rest)
    (weight,) = weights
    assert isinstance(weight, f.Apply)
    mean = f.Mean(rebuilt(_opened(inside, weight.arguments[0]), lambda n: _bare(n, index)))
    return f.times(*(p for p in rest[:at]), mean, *(p for p in rest[at:] if p not in held))


def _opened(e: Formula, point: Formula) -> Formula:
    """`E[u | b^(a)] - b^(a)`, whose mean is taken, as `u - b^(a)`: a mean given the point, where it is linear."""
    match e:
        case f.Mean(body, given) if given in (point, f.Listed((point,))):
            return body
        case f.Plus(terms):
            return f.Plus(tuple((minus, _opened(t, point)) for minus, t in terms))
        case f.Over(top, bottom):
            return f.Over(_opened(top, point), bottom)
        case f.Times(factors):
            held = [n for n, p in enumerate(factors) if any(isinstance(q, f.Mean) for q in parts(p))]
            if len(held) == 1:
                return f.Times(tuple(_opened(p, point) if n in held else p for n, p in enumerate(factors)))
    return e


def _is_weight(e: Formula, index: Formula) -> bool:
    """Whether a factor is the probability of a point alone."""
    match e:
        case f.Apply(f.Word("q"), (f.At(f.Nth(_, numbers), _) | f.Nth(_, numbers),)):
            return numbers == (index,)
    return False


def _holds(e: Formula, index: Formula) -> bool:
    return any(isinstance(p, f.Nth) and index in p.numbers for p in parts(e))


def _bare(e: Formula, index: Formula) -> Formula | None:
    return e.base if isinstance(e, f.Nth) and e.numbers == (index,) else None
