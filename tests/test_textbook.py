"""What a derivation takes from textbooks, and no plan computes: moments by a family's arguments, sums along a chain."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import special

from emdsl.derive.joint.records import POSTERIORS
from emdsl.report import formula as f
from emdsl.report import intervals, ties
from emdsl.report.formula import Formula
from emdsl.report.moments import MOMENTS
from emdsl.report.unicode import text
from emdsl.report.walking import rebuilt
from emdsl.runtime.numeric import cut_normals, posteriors

FUNCTIONS = {
    "log": np.log, "exp": np.exp, "digamma": special.digamma, "logdet": lambda m: np.linalg.slogdet(m)[1],
    "Phi": special.ndtr, "phi": lambda u: np.exp(-0.5 * u * u) / np.sqrt(2 * np.pi),
}  # fmt: skip
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
        case f.Bracket(f.Relation(">", left, right)):
            return float(value(left, known) > value(right, known))
        case f.Plus(terms):
            return sum(-value(t, known) if negative else value(t, known) for negative, t in terms)
        case f.Times(factors):
            out = value(factors[0], known)
            for p in factors[1:]:
                right = value(p, known)
                out = out @ right if np.ndim(out) and np.ndim(right) else out * right
            return out
        case f.Big(((f.Name(index), size),), None, body):
            return sum(value(body, {**known, index: float(k)}) for k in range(int(value(size, known))))
        case f.Root(body):
            return value(body, known) ** 0.5
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


def test_a_normal_between_two_ends_and_a_wishart() -> None:
    a = {"low": np.array(-0.3), "high": np.array(1.1), "mean": np.array(0.4), "precision": np.array(2.5)}
    natural = {"id": a["mean"] * a["precision"], "square": -a["precision"] / 2}
    _, kernel = cut_normals.cut_normal_posterior(**natural, lower=a["low"], upper=a["high"])
    names = {n: f.Name(n) for n in (*a, "alpha", "beta")}
    a |= {"sd": 1 / np.sqrt(a["precision"]), "variance": 1 / a["precision"]}
    spread = f.Name("sd"), f.Name("variance")
    for e in intervals.ends(names, spread[0]):
        a |= {text(e.left): value(e.right, a)} if isinstance(e, f.Relation) else {}
    first, second = intervals.between(names, *spread)
    np.testing.assert_allclose([value(first, a), value(second, a)], [kernel["id"], kernel["square"]])
    a |= {"low": a["high"], "high": a["low"], "alpha": a["beta"], "beta": a["alpha"]}  # outside
    _, kernel = cut_normals.parted_normal_posterior(**natural, lower=a["low"], upper=a["high"])
    outside = [value(e, a) for e in intervals.between(names, *spread, apart=True)]
    np.testing.assert_allclose(outside, [kernel["id"], kernel["square"]])
    scale = np.array([[2.0, 0.3], [0.3, 1.0]])
    _, kernel = posteriors.wishart_posterior(np.array(1.5), np.linalg.inv(scale) / -2)
    matrix = {"df": np.array(6.0), "scale": scale, "D": 2.0}
    mean, volume = intervals.wishart(*map(f.Name, ("df", "scale", "D")), ((f.Name("d"), f.Name("D")),))
    np.testing.assert_allclose(value(mean, matrix), kernel["id"])
    np.testing.assert_allclose(value(volume, matrix), kernel["logdet"])


def test_elements_eliminated_one_after_the_other_leave_the_inverse() -> None:
    """Four elements of two numbers, tied in a ring: what the equations say, against the dense inverse."""
    size, names, rng = 2, [f.Name(c) for c in "pqrs"], np.random.default_rng(1)
    root = rng.normal(size=(size * 4, size * 4))
    dense, linear = root @ root.T + 9 * np.eye(size * 4), rng.normal(size=size * 4)
    for s, t in ((0, 2), (1, 3), (2, 0), (3, 1)):  # not tied, until others are eliminated
        dense[2 * s : 2 * s + 2, 2 * t : 2 * t + 2] = 0
    at = {e.text: slice(size * n, size * n + size) for n, e in enumerate(names)}
    known: dict[str, Any] = {f"h({a})": linear[here] for a, here in at.items()}
    known |= {f"J({a}, {b})": dense[here, there] for a, here in at.items() for b, there in at.items()}

    def found(e: Formula, over: list[f.Name]) -> Any:
        """The value of a right side, sums over what an element is tied to written out."""
        assert isinstance(e, f.Relation)

        def step(n: Formula) -> Formula | None:
            if not isinstance(n, f.Big):
                return None
            return f.plus(*(rebuilt(n.body, lambda m, o=o: o if m == f.Name("x") else None) for o in over))

        return value(rebuilt(e.right, step), known)

    for n, u in enumerate(names):
        pairs = [(a, b) for a in names[n + 1 :] for b in names[n + 1 :]]
        left = {text(e.left): found(e, []) for a, b in pairs for e in ties.eliminated(u, a, b)}
        known |= left
    for n, u in reversed(list(enumerate(names))):
        later = names[n + 1 :]
        for b in later or [u]:
            mean, beside, own = ties.restored(u, f.Name("x"), b)
            known[text(mean.left)] = found(mean, later)
            if later:
                known[f"cov({u.text}, {b.text})"] = found(beside, later)
                known[f"cov({b.text}, {u.text})"] = known[f"cov({u.text}, {b.text})"].T
        known[text(own.left)] = found(own, later)
    covariance = np.linalg.inv(dense)
    for a, here in at.items():
        np.testing.assert_allclose(known[f"E[{a}]"], (covariance @ linear)[here])
        for b, there in at.items():
            np.testing.assert_allclose(known[f"cov({a}, {b})"], covariance[here, there], atol=1e-12)


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
