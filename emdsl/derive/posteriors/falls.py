"""Whether the density of a latent number falls as a Gaussian does, which is what Gauss and Hermite's rule is for."""

from __future__ import annotations

from collections.abc import Mapping

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El
from emdsl.derive.joint.factors import LogJoint
from emdsl.derive.joint.records import function_of
from emdsl.derive.joint.terms import terms

POLYNOMIAL = ("id", "square")  # functions of a number in a Gaussian log density
PERIODIC = ("cos", "sin")  # in that of a direction, which has no tails


def falls_otherwise(joint: LogJoint, name: str, kinds: Mapping[str, str]) -> bool:
    """Whether the log density of a latent is no polynomial of degree two in it: a Student's, a Gumbel's.

    Where data tell little of an element, its posterior falls as its prior does. With Gauss-Hermite of 15 points the
    log-likelihood of counts under effects of a Student distribution was off by 0.02, twice the points told 0.017.
    """
    functions = set()
    for t in (t for f in joint.factors if f.about == name for t in terms(f, lambda n: kinds.get(n, "D"))):
        mine = x.mul(*(e for e in t.factors if name in x.variables(e)))
        leaf = next((e for e in x.walk(mine) if isinstance(e, El) and e.var == name), None)
        if leaf is not None:
            functions.add(function_of(mine, leaf))
    return bool(functions - {*POLYNOMIAL, *PERIODIC})
