"""Normal equations on vectors that sum to 0, against the equations with multipliers written out."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from emdsl.runtime.numeric.sums import solve_centred

SIZES, LENGTHS = (2, 6, 4), (0, 3, 4)  # two numbers; two vectors of three; one of four
SUMS = np.zeros((3, 12))
SUMS[0, 2:5] = SUMS[1, 5:8] = SUMS[2, 8:] = 1.0


def _system(rng, n, rows=30):
    """Designs in which no two levels of the second tensor meet: its own block is a diagonal."""
    x = rng.normal(size=(n, rows, 12))
    x[..., 2:8] = np.eye(6)[np.arange(rows) % 6]
    weights = rng.uniform(0.5, 2.0, (n, rows, 1))
    return np.swapaxes(x, -1, -2) @ (weights * x), (np.swapaxes(x, -1, -2) @ (weights * rng.normal(size=(n, rows, 1))))


def _cut(h, g, diagonal):
    ends = np.cumsum((0, *SIZES))
    at = [slice(a, b) for a, b in pairwise(ends)]
    left = [[h[..., r, c] for c in at] for r in at]
    if diagonal:
        left[1][1] = np.diagonal(left[1][1], axis1=-2, axis2=-1)
    return left, [g[..., r] for r in at]


@pytest.mark.parametrize("diagonal", [False, True])
def test_multipliers(diagonal: bool) -> None:
    h, g = _system(np.random.default_rng(0), 3)
    zero = np.zeros((3, 3, 3))
    both = np.block([[h, np.broadcast_to(SUMS.T, (3, 12, 3))], [np.broadcast_to(SUMS, (3, 3, 12)), zero]])
    wanted = np.linalg.solve(both, np.concatenate([g, np.zeros((3, 3, 1))], 1))[:, :12, 0]
    left, right = _cut(h, g[..., 0], diagonal)
    found = solve_centred(left, right, "v", [np.zeros_like(r) for r in right], "raise", LENGTHS)
    np.testing.assert_allclose(np.concatenate(found, -1), wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("unseen", [False, True])
def test_what_is_not_settled_stays_near_the_old_values(diagonal: bool, unseen: bool) -> None:
    """Two effects of the same levels, of which the sum alone is settled; a level without data."""
    counts, sums = np.array([4.0, 1e6, 0.0 if unseen else 1.0]), np.array([3.0, 5e5, 0.0 if unseen else -2.0])
    own = counts if diagonal else np.diag(counts)
    old = [np.array([1.0, 0.0, -1.0]), np.array([0.0, 0.5, -0.5])]
    left, right = [[own, np.diag(counts)], [np.diag(counts), own]], [sums, sums]
    a, b = solve_centred(left, right, "a and b", old, "raise", (3, 3))
    assert max(abs(a.sum()), abs(b.sum())) < 1e-12
    off = sums - counts * (a + b)  # the same number for all levels
    np.testing.assert_allclose(off, off.mean(), atol=1e-7)
    assert max(np.abs(a).max(), np.abs(b).max()) < 10
