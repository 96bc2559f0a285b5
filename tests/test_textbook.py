"""What a derivation takes from textbooks, and no plan computes: moments by a family's arguments, sums along a chain."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import special

from emdsl.derive.joint.records import POSTERIORS
from emdsl.report import formula as f
from emdsl.report import ties
from emdsl.report.formula import Formula
from emdsl.report.moments import MOMENTS
from emdsl.report.unicode import text
from emdsl.runtime.numeric import posteriors

FUNCTIONS = {"log": np.log, "exp": np.exp, "digamma": special.digamma, "logdet": lambda m: np.linalg.slogdet(m)[1]}
WORDS = {"pi": math.pi, "d": 2}


def value(e: Formula, known: dict[str, Any]) -> Any:
    """The value of a formula, where all that is not arithmetic has one by its text."""
    if text(e) in known:
        return known[text(e)]
    match e:
        case f.Number(digits):
            return float(digits)
        case f.Word(word):
            return WORDS[word]
        case f.Plus(terms):
            return sum(-value(t, known) if negative else value(t, known) for negative, t in terms)
        case f.Times(factors):
            out = value(factors[0], known)
            for p in factors[1:]:
                right = value(p, known)
                out = out @ right if np.ndim(out) and np.ndim(right) else out * right
            return out
        case f.Over(top, bottom):
            return value(top, known) / value(bottom, known)
        case f.Raised(base, f.Word("T")):
            return value(base, known).T
        case f.Raised(base, f.Number("-1")):
            return np.linalg.inv(value(base, known))
        case f.Raised(base, exponent):
            return value(base, known) ** value(exponent, known)
        case f.Apply(f.Word(word), (argument,)) if word in FUNCTIONS:
            return FUNCTIONS[word](value(argument, known))
    raise AssertionError(text(e))


@pytest.mark.parametrize("family", MOMENTS)
def test_moments_are_those_of_the_kernel(family: str) -> None:
    (record,) = (p for p in POSTERIORS if p.name == family)
    natural = {"log": 2.5, "log1m": 1.5, "id": -0.7, "recip": -0.7, "square": -1.3}
    if family == "InverseGamma":
        natural["log"] = -4.5
    natural = {n: np.array(natural[n]) for n in record.statistics}
    if family == "Dirichlet":
        natural = {"log": np.array([2.5, 0.5])}
    _, kernel = getattr(posteriors, record.kernel)(**natural)
    known = {name: kernel["arguments"].get(name) for name, *_ in record.arguments}
    if family == "Dirichlet":
        known["total"] = known["concentration"].sum()
    if family == "Normal":
        known |= {"mean": kernel["id"], "precision": 1 / kernel["arguments"]["var"]}
    names = {n: f.Name(n) for n in known}
    for kind, written in MOMENTS[family].items():
        np.testing.assert_allclose(value(written(names), known), kernel[kind], err_msg=f"{family}: {kind}")


def test_the_sums_along_a_gaussian_chain_are_its_inverse() -> None:
    """Four elements of two numbers: what the equations say, one after the other, against the dense inverse."""
    size, steps, rng = 2, 4, np.random.default_rng(0)
    dense, linear = np.zeros((steps * size, steps * size)), rng.normal(size=steps * size)
    block = [slice(size * t, size * t + size) for t in range(steps)]
    places = [f.At(f.Name("z"), (f.Number(str(t)),)) for t in range(steps)]
    known: dict[str, Any] = {}
    for t in range(steps):
        dense[block[t], block[t]] = 5 * np.eye(size) + np.diag(rng.random(size))
        if t:
            dense[block[t], block[t - 1]] = rng.normal(size=(size, size))
            dense[block[t - 1], block[t]] = dense[block[t], block[t - 1]].T
    for t in range(steps):
        known[f"h(z[{t}])"] = linear[block[t]]
        known |= {f"J(z[{t}], z[{s}])": dense[block[t], block[s]] for s in (t - 1, t) if s >= 0}

    def run(equations: Any) -> None:
        for e in equations:
            known.setdefault(text(e.left), value(e.right, known))

    def turned(t: int) -> Formula:
        return f.Raised(f.Apply(f.Word("J"), (places[t], places[t - 1])), f.Word("T"))

    for t in range(1, steps):
        run(ties.forward(places[t], places[t - 1], places[0], turned(t)))
    for t in reversed(range(1, steps)):
        run(ties.backward(places[t], places[t - 1], places[-1], turned(t)))
    covariance = np.linalg.inv(dense)
    mean = covariance @ linear
    for t in range(steps):
        np.testing.assert_allclose(known[f"E[z[{t}]]"], mean[block[t]])
        for s in (t - 1, t):
            if s >= 0:
                np.testing.assert_allclose(known[f"cov(z[{t}], z[{s}])"], covariance[block[t], block[s]])
    left = sum(value(ties.left_over(z, True), known) for z in places)
    whole = 0.5 * (linear @ mean - np.linalg.slogdet(dense)[1] + size * steps * np.log(2 * np.pi))
    np.testing.assert_allclose(left, whole)
