"""Nodes of the algebra: one for the same fields, as long as somebody holds it."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from fractions import Fraction

import pytest
from gallery import MODELS

import emdsl
from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.nodes import El, Ix, Kept, Mul, Num, first_of, num
from emdsl.report.flat import with_own_sums


def test_equal_nodes_are_one() -> None:
    n = Ix("n", "N")
    one = Mul((num(2), El("a", (n,))))
    assert one is Mul((num(2), El(var="a", idx=(Ix("n", "N"),), sort="real"))) and one != Mul((num(2), El("a", ())))
    assert copy.deepcopy(one) is one and pickle.loads(pickle.dumps(one)) is one  # noqa: S301  (our own)
    assert Num(Fraction(2)) is not Num(2.0)  # what is exact stays so
    with pytest.raises(TypeError, match="var, idx, sort"):
        El("a")  # type: ignore[call-arg]
    with pytest.raises(AttributeError):
        one.factors = ()  # type: ignore[misc]


def test_what_nobody_holds_is_gone() -> None:
    kept = weakref.ref(El("held by nobody", ()))
    assert kept() is None


def test_what_stands_in_many_places_is_made_anew_once() -> None:
    """Where one of two hurdles may be met in the other's branches, a rebuilding of all places took 2 s of 2.5."""
    e, asked = x.fn("exp", El("a", ())), []
    for _ in range(12):  # 4096 places
        e = x.fn("f", e, x.mul(num(2), e))
    renamed = x.rebuild(e, lambda n: asked.append(n) or (El("b", ()) if n == El("a", ()) else None))  # type: ignore[func-returns-value]
    assert renamed == x.put(e, El("a", ()), El("b", ())) and len(asked) == len(set(asked)) < 40


def test_a_sum_that_stands_in_two_places_has_two_indices_where_they_are_told_apart() -> None:
    total = x.total(Ix("n", "N"), El("a", (Ix("n", "N"),)))
    found = with_own_sums(x.fn("f", total, x.mul(num(2), total)))
    assert len({n.ix for n in x.walk(found) if isinstance(n, x.Sum)}) == 2


def test_few_objects_hold_one_another() -> None:
    """Functions inside a function that call one another do, and wait for the collector: there were 2000 for a model
    compiled, 9000 for a derivation told. What it costs to look for them grows with all that a process holds."""
    collecting, found = gc.isenabled(), []
    gc.disable()
    emdsl.compile(MODELS / "student_free_df.em")  # what is made once is not counted
    gc.freeze()
    model = emdsl.compile(MODELS / "student_free_df.em")
    for made in (lambda: None, lambda: str(model.derivation)):
        made()
        found.append(gc.collect())
    if collecting:
        gc.enable()
    assert found[0] < 800 and found[1] < 3000


def test_of_two_threads_the_first_to_put_a_node_there_wins() -> None:
    """Both looked when there was none, and both made one; one that is gone and not yet forgotten gives way."""

    def kept(made: object) -> Kept:
        out = Kept(made)
        out.key = ("a node",)
        return out

    one, other = (type("Made", (), {})() for _ in range(2))
    table = {("a node",): kept(one)}
    assert first_of(table, kept(other), other) is one
    del one
    assert first_of(table, kept(other), other) is other and table["a node",]() is other


def test_dummies_are_in_the_order_in_which_they_were_made() -> None:
    """Names of as many digits: a module read otherwise where a process had made 99, or 9999, dummies before it."""
    made = [x.fresh("D").name for _ in range(1200)]
    assert made == sorted(made)
