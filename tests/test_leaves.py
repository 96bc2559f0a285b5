"""Joint Gaussians of which some elements go before the others: against the inverse of the whole precision."""

from __future__ import annotations

import numpy as np
import pytest

import emdsl
from emdsl.runtime.fields import leaves
from emdsl.runtime.fields.by_leaves import may_go_by_leaves
from emdsl.runtime.fields.elements import Field, Parts
from emdsl.runtime.fields.fields import gaussian_field
from emdsl.runtime.fields.gated import gated_field


def crossed(rng):
    """Students with two numbers each, of whom some met nobody, lecturers and rooms."""
    a, b, c = rng.integers(0, 30, 90), rng.integers(0, 9, 90), rng.integers(0, 4, 90)
    return [(32, 2), (9, 1), (4, 3)], [(0, 1, a, b), (0, 2, a, c), (1, 2, b, c)]


def full(rng):
    """Each of many meets all of few."""
    a, b = np.divmod(np.arange(200), 5)
    return [(40, 1), (5, 1)], [(0, 1, a, b)]


def nested(rng):
    """Pupils in classes in schools, the schools along a line."""
    pupil, of = np.arange(60), rng.integers(0, 12, 60)
    school = np.arange(12) // 3
    return [(60, 1), (12, 2), (4, 1)], [(0, 1, pupil, of), (0, 2, pupil, school[of]), (1, 2, np.arange(12), school),
                                        (2, 2, np.arange(1, 4), np.arange(3))]  # fmt: skip


def grid(rng):
    """Neighbours on a grid, and what hangs on some of them."""
    at = np.arange(81).reshape(9, 9)
    one = np.concatenate([at[:, 1:].ravel(), at[1:].ravel()])
    other = np.concatenate([at[:, :-1].ravel(), at[:-1].ravel()])
    return [(81, 1), (10, 2)], [(0, 0, one, other), (1, 0, np.arange(10), rng.integers(0, 81, 10))]


@pytest.mark.parametrize("shape", [crossed, full, nested, grid])
@pytest.mark.parametrize("deep", [False, True])
def test_what_goes_first_is_the_inverse_of_the_whole(shape, deep, monkeypatch):
    for name, value in {"FEW_OPERATIONS": 0, "SPARE": 0, "CALLS": 0.0, "DENSE_OPERATION": 1e3 if deep else 1.0}.items():
        monkeypatch.setattr(leaves, name, value)
    rng = np.random.default_rng(0)
    sizes, ties = shape(rng)
    first = np.cumsum([0, *(n * d for n, d in sizes)])
    j = np.zeros((first[-1], first[-1]))
    pieces = [(k, k, np.arange(n), np.arange(n), rng.normal(size=(n, d, d))) for k, (n, d) in enumerate(sizes)]
    pieces += [(a, b, i, k, rng.normal(size=(len(i), sizes[a][1], sizes[b][1]))) for a, b, i, k in ties]
    spread = np.abs(np.concatenate([p[4].ravel() for p in pieces])).sum()
    for k, (_, d) in enumerate(sizes):
        pieces[k][4][:] -= spread * np.eye(d) / 20

    def places(latent, elements):
        return first[latent] + elements[:, None] * sizes[latent][1] + np.arange(sizes[latent][1])

    for a, b, i, k, values in pieces:
        one, other = places(a, i)[:, :, None], places(b, k)[:, None, :]
        np.subtract.at(j, (one + 0 * other, other + 0 * one), values)
    j = j + j.T
    linear = [rng.normal(size=(n, d)) for n, d in sizes]
    field = Field([[(k, d)] for k, (_, d) in enumerate(sizes)], [n for n, _ in sizes], "all")
    parts = Parts((1,), [np.zeros(n, int) for n, _ in sizes])
    homes = [1] * len(sizes)
    assert may_go_by_leaves(field, linear, homes, pieces)
    means, covariances, (log_z,) = gaussian_field(field, linear, homes, pieces, parts=parts)
    h, v = np.concatenate([a.ravel() for a in linear]), np.linalg.inv(j)
    np.testing.assert_allclose(np.concatenate([m.ravel() for m in means]), v @ h, rtol=1e-11, atol=1e-13)
    assert abs(log_z - 0.5 * (h @ v @ h + len(h) * np.log(2 * np.pi) - np.linalg.slogdet(j)[1])) < 1e-11 * abs(log_z)
    for n, (a, b, i, k, _) in enumerate(pieces):
        expected = v[places(a, i)[:, :, None], places(b, k)[:, None, :]]
        np.testing.assert_allclose(covariances[n], expected, rtol=1e-10, atol=1e-15)
    twice = [np.stack([h, 2 * h]) for h in linear]
    both = [(a, b, i, k, np.stack([values, values])) for a, b, i, k, values in pieces]
    gated, beside, _ = gated_field((2,), field, twice, homes, both, parts=parts)
    assert not field.ready
    for one, other in zip(gated, means, strict=True):
        np.testing.assert_allclose(one, [other, 2 * other], rtol=1e-13)
    np.testing.assert_array_equal(beside[1][1], covariances[1])


def test_a_tree_of_20000() -> None:
    """Levels of a random tree are thousands wide: it was refused."""
    text = """
    model Tree
    param q : positive
    param r : positive
    for i in I:
        given parent[i] : index[I]
        latent x[i] ~ Normal(0, 1) if i == 0 else Normal(x[parent[i]], var = q)
        observed y[i] ~ Normal(x[i], var = r)
    """
    rng, n, q, r = np.random.default_rng(0), 20000, 0.5, 0.4
    parent, y = np.maximum(np.arange(n) * rng.random(n) - 1, 0).astype(int), rng.normal(size=n)
    fit = emdsl.compile(text=text).fitter(max_iter=0, init={"q": q, "r": r})
    with pytest.warns(UserWarning, match="max_iter"):
        fit.fit({"y": y, "parent": parent})
    precision, linear, value = [1 / r] * n, (y / r).tolist(), -0.5 * (n * np.log(2 * np.pi * r) + y @ y / r)
    for i, p in zip(range(n - 1, 0, -1), parent[:0:-1].tolist(), strict=True):  # exp(linear x - precision x^2 / 2)
        own = precision[i] + 1 / q
        value += 0.5 * (linear[i] ** 2 / own - np.log(own * q))
        precision[p], linear[p] = precision[p] + 1 / q - 1 / (q * q * own), linear[p] + linear[i] / (q * own)
    own = precision[0] + 1
    value += 0.5 * (linear[0] ** 2 / own - np.log(own))
    assert fit.log_likelihood_ == pytest.approx(value, rel=1e-12)
