"""Nodes of the algebra: one for the same fields, as long as somebody holds it."""

from __future__ import annotations

import copy
import pickle
import weakref
from fractions import Fraction

import pytest

from emdsl.derive.algebra.nodes import El, Ix, Kept, Mul, Num, first_of, num


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
