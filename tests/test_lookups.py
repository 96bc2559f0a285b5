"""Indices that data decide are checked when these are bound: out of range, they were read as if nothing stood there."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

import emdsl
from emdsl.errors import EmdslError

ROWS = """
model Rows
param m[3] : real
for n in N:
    given k[n] : count
    observed y[n] ~ {}
"""
CHAINS = """
model Chains
param s : positive
for i in S:
    for t in T[i]:
        latent h[i, t] ~ Normal(0, 1) if t == 0 else Normal(h[i, t-1], s)
for r in R:
    given who[r]  : index[S]
    given when[r] : index[M]
    observed y[r] ~ Normal(h[who[r], when[r]], 1)
"""
TEAMS = """
model Teams
param m[3] : real
for n in N:
    for j in 2:
        given k[n, j] : count
    observed y[n] ~ Normal(sum(m[k[n, j] + j] for j in 2 if k[n, j] < 9), 1)
"""
CLASSES = """
model Classes
param w : simplex[2]
param m[3] : real
for n in N:
    given k[n] : count
    latent z[n] ~ Categorical(w)
    observed y[n] ~ Normal(m[z[n] + k[n]] if z[n] == 0 or k[n] < 5 else 0, 1)
"""
SOME = """
model Some
param m[3] : real
for n in N:
    given z[n] : category[5]
    observed y[n] ~ Normal(m[z[n]], 1) if z[n] < 4 else Normal(0, 1)
"""
LONG = """
model Long
param b[3] : real
for n in N:
    for j in J[n]:
        given x[n, j] : real
    observed y[n] ~ Normal(sum(x[n, j] * b[j] for j in J[n]), 1)
"""
PROFILES = """
model Profiles
param v : positive
for c in C:
    for t in T[c]:
        latent mu[c, t] ~ Normal(0.2, sqrt(v))
for s in S:
    given g[s] : index[C]
    for t in {}:
        observed y[s, t] ~ Normal(mu[g[s], t], 0.4)
"""
OTHER, SAME = PROFILES.format("L[s]"), PROFILES.format("T[s]").replace("S:", "C:")
BEGUN = "Normal(m[k[n] - 1], 1)"
REACHED = "Normal(m[k[n] - 1] if k[n] > 0 else 0, 1)"
BRANCH = "Normal(m[k[n] - 1], 1) if k[n] > 0 else Normal(0, 1)"
# text, data that stay, data that do not, what is said of these
CASES = {
    "from one": (ROWS.format(BEGUN), {"k": [1, 2, 3]}, {"k": [1, 0, 2]}, "m in line 6: is below 0: the value in row 1"),
    "past the end": (ROWS.format(BEGUN), {"k": [1, 2, 3]}, {"k": [1, 2, 4]}, "m in line 6: is past the end: .* row 2"),
    "not reached": (ROWS.format(REACHED), {"k": [1, 0, 3]}, {"k": [1, 0, 4]}, "past the end"),
    "another branch": (ROWS.format(BRANCH), {"k": [1, 0, 3]}, {"k": [1, 0, 4]}, "past the end"),
    "a ragged row": (CHAINS, {"who": [0, 0, 1], "when": [0, 2, 0], "T": [3, 1]},
                     {"who": [0, 0, 1], "when": [0, 2, 1], "T": [3, 1]}, "h in line 10: is past the end: .* row 2: 1"),
    "a class and data": (CLASSES, {"k": [0, 1, 1]}, {"k": [0, 2, 1]}, "past the end: .* row 1.*: 3"),
    "a class of a state": (CLASSES, {"k": [0, 1, 0]}, {"k": [0, 5, 1]}, "past the end: .* row 1.*: 5"),
    "fewer than states": (SOME, {"z": [0, 2, 4]}, {"z": [0, 3, 1]}, "m in line 6: is past the end: .* row 1: 3"),
    "more than there are": (LONG, {"x": [[1, 0, 1], [], [2]]}, {"x": [[1, 0, 1], [], [2, 1, 1, 5]]}, "past the end"),
    "a row of another plate": (OTHER, {"g": [0, 1, 1], "T": [3, 2], "y": [[1.0, 2.0, 0.0], [1.0], [0.0, 3.0]]},
                               {"g": [0, 1, 1], "T": [3, 2], "y": [[1.0, 2.0, 0.0], [1.0], [0.0, 3.0, 1.0]]},
                               "mu in line 10: is past the end: .* row 6: 2"),
    "another row": (SAME, {"g": [1, 1], "y": [[1.0, 2.0], [1.0, 4.0, 1.0]]},
                    {"g": [1, 0], "y": [[1.0, 2.0], [1.0, 4.0, 1.0]]}, "mu in line 10: is past the end: .* row 4: 2"),
    "under a sum": (TEAMS, {"k": [[0, 9], [2, 1], [1, 1]]}, {"k": [[0, 0], [2, 2], [1, 1]]}, "past the end: .* row 1"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::emdsl.runtime.data.faults.ConvergenceWarning")
@pytest.mark.parametrize("name", CASES)
def test_an_index_that_leaves_its_axis_is_refused(name: str) -> None:
    text, stays, leaves, said = CASES[name]
    fitter = emdsl.compile(text=text).fitter(max_iter=0, seed=0)
    assert np.isfinite(fitter.fit({"y": [1.0, 2.0, 3.0], **stays}).log_likelihood_)
    with pytest.raises(EmdslError, match=said):
        fitter.fit({"y": [1.0, 2.0, 3.0], **leaves})


@pytest.mark.filterwarnings("ignore::emdsl.runtime.data.faults.ConvergenceWarning")
def test_rows_of_a_ragged_plate_that_others_point_at() -> None:
    """`mu[g[s], t] for t in L[s]` was refused: each sees as much of its profile as it is long, against one Gaussian."""
    lengths, seen = [3, 2, 4], {0: [0.3, -0.2, 1.1], 2: [0.9, 0.1], 1: [0.4]}
    points = [(0, 3), (2, 2), (1, 1), (2, 4), (0, 0)]
    y = [[*seen[c], 0.5, -0.6][:n] for c, n in points]
    at = [(c, t) for c, n in points for t in range(n)]
    ties = np.array([[0.49 * (a == b) for b in at] for a in at]) + 0.16 * np.eye(len(at))
    wanted = multivariate_normal.logpdf(np.concatenate(y), np.full(len(at), 0.2), ties)
    fitter = emdsl.compile(text=OTHER).fitter(max_iter=0, init={"v": 0.49})
    fit = fitter.fit({"g": [c for c, _ in points], "y": y, "T": lengths})
    assert fit.log_likelihood_ == pytest.approx(wanted, rel=1e-12)
