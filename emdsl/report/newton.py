"""Newton's method in equations: the curvature of Q in its parameters, and the step that is taken with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Idx, Ix
from emdsl.derive.joint.coefficients import axes_of
from emdsl.derive.joint.terms import Term
from emdsl.derive.updates.curvature import Curvature, Part, curvature
from emdsl.language import model as m
from emdsl.report import formula as f
from emdsl.report.draws import each_over_draws
from emdsl.report.formula import Formula, Word
from emdsl.report.gathered import gathered
from emdsl.report.measure import measure
from emdsl.report.numerators import as_products
from emdsl.report.page import Say, Show
from emdsl.report.shares import Shares
from emdsl.report.squares import closed_squares
from emdsl.report.tidy import tidy
from emdsl.report.typeset import Typeset
from emdsl.report.unicode import WORDS
from emdsl.report.vectors import tensor

LONGEST = 1200  # letters of a Hessian, about twelve lines of a report: a choice by look (decision 0098), not a bound
# The coordinates in which a step is taken, by the kind of the domain (`runtime/numeric/unconstrained`).
FREE = {
    "real": "a real number itself",
    "positive": "the log of a positive number",
    "unit": "the log-odds of one between 0 and 1",
    "simplex": "of shares the log-ratios to the last",
    "ordered": "of ordered numbers the one in the middle and the logs of the steps between them",
    "zero_sum": "of numbers that sum to 0 all but the last",
    "spd": "of a matrix its Cholesky factor, the diagonal in logs",
    "correlation": "of a correlation matrix the rows of its Cholesky factor before they are scaled to length 1",
}

# What is done where Newton's step does not lead upwards (`runtime/numeric`: `ascend`, `low_step`, `maximise_scalar`).
BY_EIGENVALUES = (
    "Where the Hessian is not negative definite its eigenvalues are turned, so that each step leads upwards."
)
BY_DIAGONAL = "Where the Hessian is not negative definite the sizes of its diagonal stand for it."
BY_BRACKET = (
    "Where the second derivative is not negative a step has the sign of the slope; one that leaves the bracket in "
    "which the slope changes sign goes to its middle."
)


def hessian_of(
    held: Sequence[Term], own: Curvature, variables: Sequence[m.Variable], xi: Word, shares: Shares, t: Typeset
) -> Iterator[Say | Show]:
    """The second derivatives of Q by the parameters where they are short enough to be read; else what they are of.

    Of the terms of Q as it is shown, which are opened less than those of the rule, whose `own` Hessian stands for it
    where there are so many of them that none is made.
    """
    found = curvature(held, variables) or own
    parts = found.parts if found.low else tuple(_on_diagonal(p, found, variables, t) for p in found.parts)
    shown = list(_entries(replace(found, parts=parts), variables, shares, t))
    if sum(map(measure, shown)) <= LONGEST:
        yield Say("and the Hessian")
        yield from (Show(e, part="curvature") for e in shown)
        if parts != found.parts:
            yield Say("Its other entries are 0.")
        return
    yield Say("and the Hessian, the derivative of the gradient once more, which is too long to be written out:")
    yield Show(f.Relation("=", f.Word("Hessian"), f.Slope(f.Word("Q"), xi, 2)), part="curvature")


def step_of(variables: Sequence[m.Variable], xi: Word, uphill: str) -> Iterator[Say | Show]:
    """`xi <- xi - s (d2 Q / d xi2)^-1 d Q / d xi`, what xi are, and how a step leads `uphill` where this does not."""
    yield Say("A step is, with s the first of 1, ½, ¼, ... at which Q does not fall,")
    inverse = f.Raised(f.Slope(f.Word("Q"), xi, 2), f.Number("-1"))
    moved = f.less(xi, f.times(f.Word("s"), inverse, f.Slope(f.Word("Q"), xi)))
    yield Show(f.Relation("<-", xi, moved), part="step")
    kinds = list(dict.fromkeys(v.domain.kind for v in variables))
    told = "the parameters themselves"
    if kinds != ["real"]:
        told = f"free coordinates of the parameters: {'; '.join(FREE[k] for k in kinds)}"
    yield Say(f"{WORDS[xi.text]} are {told}. {uphill}")


def free_coordinates(taken: Set[str]) -> Word:
    """The letter for unconstrained coordinates: one that the model has not."""
    return f.Word(next((c for c in ("xi", "zeta", "eta") if c not in taken), "xi"))


def _entries(found: Curvature, variables: Sequence[m.Variable], shares: Shares, t: Typeset) -> Iterator[Formula]:
    by_name = {v.name: v for v in variables}
    if found.low:
        diagonal, whole = found.parts
        own = diagonal.axes[-1]
        other = Ix(f"{own.name}'", own.dim)
        total = x.add(x.mul(x.delta(own, other), _total(diagonal)), _total(whole))
        yield _entry(found, by_name[diagonal.left], by_name[diagonal.left], (*diagonal.axes, other), total, shares, t)
        return
    for part in found.parts:
        yield _entry(found, by_name[part.left], by_name[part.right], part.axes, _total(part), shares, t)


def _on_diagonal(part: Part, found: Curvature, variables: Sequence[m.Variable], t: Typeset) -> Part:
    """Of elements of one parameter whose second derivatives are 0 but on a diagonal, that; matrices stay whole."""
    batch = len(found.batch)
    mine = part.axes[batch:]
    v = next(v for v in variables if v.name == part.left)
    plates = len(mine) // 2 - t.own(El(v.name, axes_of(v)))
    if part.left != part.right or plates < 1:
        return part
    for left, right in zip(mine[:plates], mine[len(mine) // 2 :], strict=False):
        if all(x.Delta(left, right) in p.factors or x.Delta(right, left) in p.factors for p in part.products):
            to: dict[Ix, Idx] = {right: left}
            products = tuple(replace(p, factors=tuple(x.substitute(f, to) for f in p.factors)) for p in part.products)
            part = replace(part, axes=tuple(left if i == right else i for i in part.axes), products=products)
    return part


def _total(part: Part) -> x.Expr:
    return x.add(
        *(x.totals([i for i in p.ixs if i not in part.axes], x.mul(p.coef, *p.factors)) for p in part.products)
    )


def _entry(
    found: Curvature, v: m.Variable, w: m.Variable, axes: tuple[Ix, ...], total: x.Expr, shares: Shares, t: Typeset
) -> Formula:
    """`d2 Q / d v d w = ...`, a matrix where each is a vector or a row of a matrix, else element by element."""
    places, batch = dict(found.places), found.batch
    rest = list(axes[len(batch) :])
    mine, first = _placed(v, places[v.name], batch, rest)
    other, second = _placed(w, places[w.name], batch, rest)
    value = as_products(gathered(tidy(closed_squares(tidy(total, t.known)), t.known)))
    value = shares.named(each_over_draws(value, t.known.drawn))
    own = [own for own in (first, second) if own]
    rows = t.own(El(v.name, mine)) == t.own(El(w.name, other)) if len(own) == 2 else bool(own)
    if rows and all(t.own(El(u.name, at)) in (1, 2) for u, at, o in ((v, mine, first), (w, other, second)) if o):
        names = t.letters.extend({}, (*batch, *(i for ixs in own for i in ixs[:-1])))
        matrix = tensor(t, value, tuple(ixs[-1] for ixs in own), names)
        if matrix is not None:
            sides = (
                t.named(El(v.name, mine), mine[: len(mine) - bool(first)], names),
                t.named(El(w.name, other), other[: len(other) - bool(second)], names),
            )
            return f.Relation("=", _twice(*sides), matrix)
    names = t.letters.extend({}, axes)
    return f.Relation("=", _twice(t.of(El(v.name, mine), names), t.of(El(w.name, other), names)), t.of(value, names))


def _twice(left: Formula, right: Formula) -> Formula:
    return f.Slope(f.Word("Q"), left, 2, None if left == right else right)


def _placed(
    v: m.Variable, at: tuple[int, ...], batch: tuple[Ix, ...], rest: list[Ix]
) -> tuple[tuple[Idx, ...], tuple[Ix, ...]]:
    """The index of an element, its batch axes where they stand, and its other axes, the next of `rest`."""
    own = tuple(rest.pop(0) for d in range(len(v.shape)) if d not in at)
    left = iter(own)
    return tuple(batch[at.index(d)] if d in at else next(left) for d in range(len(v.shape))), own
