"""The joint and the posteriors as they are shown, at points: what was left out and what was closed changes no value."""

from __future__ import annotations

import numpy as np
import pytest
from algebra import World
from test_theorem import planned, point, world

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Ix
from emdsl.derive.algebra.show import show
from emdsl.derive.joint.sides import classes, side_in
from emdsl.derive.joint.terms import Term, opened, settle
from emdsl.derive.posteriors.averages import in_turn
from emdsl.report.conditions import solved
from emdsl.report.equations import readable
from emdsl.report.factored import product_of
from emdsl.report.joint import summed
from emdsl.report.known import known
from emdsl.report.latents import closed_terms
from emdsl.report.rank_one import products, sharing
from emdsl.report.squares import closed_in_rows, closed_squares
from emdsl.report.supports import apart, ends_of
from emdsl.report.tidy import tidy
from emdsl.report.typeset import typeset

SHOWN = ["word_alignment", "ising_denoising", "switching_linear_system"]
SQUARES = ["mixture_of_factor_analysers", "bayesian_gaussian_mixture"]


@pytest.mark.parametrize("name", SHOWN)
def test_the_joint_is_the_sum_of_what_is_shown(name: str) -> None:
    plan = readable(planned(name))
    w, t, free = world(plan, point(name, False)), typeset(plan), ends_of(plan)
    for factor in plan.joint.factors:
        bare, ends = apart(factor, free)
        plates, body = summed(factor, bare, t)
        written = x.totals(list(plates), body)
        full = x.totals(list(factor.plates), x.mul(*factor.gates, *factor.masks, factor.body))
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(w.value(written, {}), w.value(full, {}), rtol=1e-9, atol=1e-9)
        assert bool(ends) == (bare != factor.body)


@pytest.mark.parametrize("name", SQUARES)
def test_squares_that_are_closed_are_what_stood_open(name: str) -> None:
    plan = readable(planned(name))
    w, facts, closed = world(plan, point(name, False)), known(plan), 0
    w.arrays["E:prec:logdet"] = lambda *at: 0.3
    for block in (b for b in plan.elimination.blocks if b.states):
        held = {*block.home, *block.states, *block.gates, *(block.chain.before if block.chain else ())}
        terms = [p.term for p in closed_terms(plan, block)]
        opened = x.add(*(x.totals([i for i in term.ixs if i not in held], term.body) for term in terms))
        short = closed_squares(tidy(opened, facts))
        closed += short != tidy(opened, facts)
        at = dict.fromkeys(x.free(x.add(opened, short)), 0) | dict.fromkeys(block.home, 1)
        np.testing.assert_allclose(w.value(short, at), w.value(opened, at), rtol=1e-9)
    assert closed


def test_means_of_squares_are_what_was_averaged_open() -> None:
    """`E[(level[t] - slope[k] level[t - 1])²]` is the sum of moments that the plan has for it."""
    plan = readable(planned("switching_linear_system"))
    w, kinds = world(plan, point("switching_linear_system", False)), side_in(classes(plan.joint))
    (block,) = (b for b in plan.elimination.blocks if b.states)
    others = [part.blocks for part in plan.elimination.parts if block not in part.blocks]

    def moments(e: x.Expr) -> x.Expr | None:
        if not isinstance(e, x.Fn) or e.name != "E":
            return None
        terms = (settle(Term(c, (), fs, ixs)) for c, fs, ixs in opened(e.args[0], kinds))
        found = [p for term in terms for p in in_turn(term, others, plan.joint)]
        return x.add(*(x.totals(list(p.ixs), p.body) for p in found))

    held = {*block.home, *block.states, *block.chain.before}
    whole = [x.add(*(x.totals([i for i in t.ixs if i not in held], t.body) for t in own))
             for own in ([p.term for p in closed_terms(plan, block)], block.terms)]  # fmt: skip
    shown, plain = x.rebuild(whole[0], moments), whole[1]
    assert any(isinstance(n, x.Fn) and n.name == "E" for n in x.walk(whole[0]))
    at = dict.fromkeys(x.free(x.add(shown, plain)), 0) | dict.fromkeys(block.home, 1)
    np.testing.assert_allclose(w.value(shown, at), w.value(plain, at), rtol=1e-9)


def test_squares_close_in_sums_over_the_rows_of_a_group() -> None:
    n, c, p, q = Ix("n", "N"), Ix("c", "C"), Ix("p", "P"), Ix("q", "P")
    e, own = El("e", (c,)), x.Sel(El("g", (n,)), c)

    def line(i: Ix) -> x.Expr:
        return x.mul(El("a", (n, i)), El("b", (i,)))

    half = x.num(-0.5)
    rows = (
        x.total(n, x.mul(x.fn("log", x.num(2)), own)),
        x.totals((n, p), x.mul(x.num(-1), e, own, line(p))),
        x.totals((n, p, q), x.mul(half, own, line(p), line(q))),
        x.total(n, x.mul(half, e, e, own)),
    )
    opened = x.add(e, *rows)
    w = World({"N": 4, "C": 2, "P": 2}, {"a": np.arange(8.0).reshape(4, 2), "b": np.array([0.3, -0.7]),
                                         "e": np.array([0.4, 1.1]), "g": np.array([0, 1, 1, 0])})  # fmt: skip
    short = closed_in_rows(opened)
    assert len(x.terms_of(short)) == 2
    for k in range(2):
        assert w.value(short, {c: k}) == pytest.approx(w.value(opened, {c: k}), rel=1e-12)
    assert closed_in_rows(x.add(e, *rows[:3])) == x.add(e, *rows[:3])


def test_entries_at_places_are_products_of_vectors() -> None:
    """Of three places, in one sum over rows that at a place is a count; what lacks an entry stays as it is."""
    n, i, j = Ix("n", "N"), Ix("i", "3"), Ix("j", "3")
    d, s = El("d", (n,)), x.power(El("s", (), "positive"), x.num(-1))
    vector = [x.ONE, d, x.mul(x.num(2), x.power(d, x.num(2)))]
    entries = [
        x.mul(s, x.total(n, x.mul(a, b)), x.delta(i, p), x.delta(j, q))
        for p, a in enumerate(vector) for q, b in enumerate(vector)
    ]  # fmt: skip
    w = World({"N": 4, "3": 3}, {"d": np.array([0.5, -1.0, 2.0, 0.3]), "s": np.array(1.7)})
    opened = x.add(*entries)
    short = products(opened, i, j)
    lacking = x.add(entries[0], entries[1], entries[4])
    assert isinstance(short, x.Sum | x.Mul) and products(lacking, i, j) == lacking
    linear = x.add(*(x.mul(El("s", ()), El("u", ()), v, x.delta(i, k)) for k, v in enumerate((x.ONE, El("v", ())))))
    w.arrays |= {"u": np.array(0.2), "v": np.array(-3.0)}
    assert isinstance(sharing(linear, i), x.Mul)
    for at in np.ndindex(3, 3):
        here = dict(zip((i, j), at, strict=True))
        np.testing.assert_allclose(w.value(short, here), w.value(opened, here))
        np.testing.assert_allclose(w.value(sharing(linear, i), here), w.value(linear, here))


def test_what_is_no_square_stays_open() -> None:
    a, b, c = (El(n, ()) for n in "abc")

    def closed(*terms: x.Expr) -> x.Expr:
        return closed_squares(x.add(*terms))

    two, square = x.num(2), lambda e: x.power(e, x.num(2))
    assert closed(square(a), x.mul(two, a, b), square(b)) == square(x.add(a, b))
    assert closed(x.mul(c, square(a)), x.mul(x.num(-2), a, b, c), x.mul(c, square(b))) == x.mul(
        c, square(x.add(a, x.neg(b)))
    )
    for terms in (
        (square(a), x.mul(a, b), square(b)),
        (square(a), x.mul(two, a, b), x.mul(two, square(b))),
        (square(a), x.mul(two, a, c), square(b)),
    ):
        assert closed(*terms) == x.add(*terms)


def test_conditions_are_solved_for_what_stands_in_them() -> None:
    """It read `0 = -s - r`."""
    a, b, c = (El(n, ()) for n in "abc")
    assert solved("eq", x.add(x.neg(a), x.neg(b)), False) == x.fn("eq", a, x.neg(b))
    assert solved("gt", x.add(a, x.neg(c)), True) == x.fn("gt", a, c)
    assert solved("gt", x.add(a, x.neg(c)), False) == x.fn("gt", c, a)
    assert solved("lt", x.add(x.neg(a), x.neg(b)), True) == x.fn("lt", x.ZERO, x.add(a, b))


def test_exponents_that_are_multiples_are_one() -> None:
    """A slope had `exp(-(k - 1) b) exp(-b)`."""
    k, b = El("k", ()), El("b", ())
    less = x.mul(x.num(-1), x.add(k, x.num(-1)), b)
    assert product_of([x.fn("exp", less), x.fn("exp", x.neg(b))]) == x.fn("exp", x.mul(x.num(-1), k, b))


def test_exponents_in_brackets() -> None:
    k, y = El("k", (), "positive"), El("y", (), "positive")
    root = x.power(y, x.mul(x.num(-1), x.power(k, x.num(-1))))
    assert show(root) == "y^(-1 / k)"
    assert show(x.power(root, x.mul(x.num(2), k))) == "1 / y^2"
    assert show(x.power(x.mul(y, x.power(k, x.num(-1))), k)) == "(y / k)^k"  # stays one number: no y^k to overflow


def test_made_indices_leave_the_user_s_names_alone() -> None:
    i, made, other = Ix("i", "I"), Ix("_7", "I"), Ix("_8", "I")

    def at(*idx: Ix) -> El:
        return El("th", idx)

    assert show(x.mul(x.total(made, at(made)), at(i))) == "(sum_i' th[i']) th[i]"
    assert show(x.mul(at(made), at(other))) == "th[i] th[i']"
    assert (
        show(x.add(x.fn("exp", x.total(made, x.fn("log", at(made)))), x.fn("exp", x.total(other, at(other))))).count(
            "'"
        )
        == 0
    )
