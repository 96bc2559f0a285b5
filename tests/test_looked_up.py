"""Probabilities of rows as products of tables: against every row by itself, and what generated factors hand over."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

import emdsl
from emdsl.runtime.looked_up import codes_of_rows, tables_of_rows

pytestmark = pytest.mark.filterwarnings("ignore::emdsl.runtime.faults.ConvergenceWarning")

CLASSES = """model Classes
size K = 3
latent share ~ Dirichlet(ones(K))
for k in K:
    latent p[k] ~ Dirichlet(ones(V))
for n in N:
    latent   z[n] ~ Categorical(share)
    observed w[n] : category[V] ~ Categorical(p[z[n]])
infer share, p, z by meanfield
"""


@pytest.mark.parametrize("kind", ["two, in order", "two, mixed", "two, with gaps", "one", "one, with gaps"])
def test_sums_through_tables_are_those_over_rows(kind: str) -> None:
    """Some rows have logarithms of which no product of exponentials is left: they are made by themselves."""
    rng = np.random.default_rng(2)
    i, j = rng.integers(4, size=30), rng.integers(6, size=30)
    i = np.sort(i) if "order" in kind else i
    there = (rng.random(30) < 0.7) + 0.0
    a, b, c = rng.normal(size=(3, 4)) * 3, rng.normal(size=(3, 6)) * 3, rng.normal(size=3)
    a[:, 1], b[:, 2], b[:, 3] = (0.0, -800.0, -900.0), (-900.0, 0.0, -900.0), (-1e200, 0.3, -1e200)
    if kind.startswith("two"):
        given = [(i, 4, None), (j, 6, there if "gaps" in kind else None)]
        logs = a[:, i] + (b[:, j] * (there if "gaps" in kind else 1.0)) + c[:, None]
    else:
        given, b = [(i, 4, there if "gaps" in kind else None)], None
        logs = a[:, i] * (there if "gaps" in kind else 1.0) + c[:, None]
    tables = [t for t in (a, b) if t is not None]
    rows = tables_of_rows(codes_of_rows(*given), tables, c)
    np.testing.assert_allclose(rows.log_norm, special.logsumexp(logs, axis=0), rtol=1e-13)
    q = np.exp(logs - special.logsumexp(logs, axis=0))
    np.testing.assert_allclose(rows.probabilities(), q, rtol=1e-10, atol=1e-300)
    weight = rng.random(30)
    for which, (code, size, present) in enumerate(given):
        kept = np.ones(30) if present is None else present
        wanted = np.stack([(q * weight * kept)[:, code == g].sum(axis=1) for g in range(size)], axis=1)
        np.testing.assert_allclose(rows.sums(which, weight), wanted, rtol=1e-10, atol=1e-300)


def test_a_step_of_latent_classes_by_hand() -> None:
    """One code and a constant; codes that are missing say nothing, and weights count rows."""
    rng = np.random.default_rng(0)
    w = rng.integers(4, size=25).astype(float)
    w[[3, 17]] = np.nan
    weight = rng.uniform(0.5, 2, 25)
    est = emdsl.compile(text=CLASSES).fitter(max_iter=4, tol=0, seed=1)
    est.fit({"w": w}, sample_weight=weight)
    share, p, q = (est.posterior_[n] for n in ("share", "p", "z"))
    log_share = special.digamma(share["concentration"]) - special.digamma(share["concentration"].sum())
    log_p = special.digamma(p["concentration"]) - special.digamma(p["concentration"].sum(1, keepdims=True))
    seen = ~np.isnan(w)
    table = log_share + np.where(seen[:, None], log_p[:, np.where(seen, w, 0).astype(int)].T, 0.0)
    np.testing.assert_allclose(q, special.softmax(table, axis=1), rtol=1e-12)
    again = emdsl.compile(text=CLASSES).fitter(max_iter=0)
    again.fit({"w": w}, sample_weight=weight, init={"z": q})
    np.testing.assert_allclose(again.posterior_["share"]["concentration"], 1 + weight @ q, rtol=1e-12)
    counts = np.stack([(weight * (w == v)) @ q for v in range(4)], axis=1)
    np.testing.assert_allclose(again.posterior_["p"]["concentration"], 1 + counts, rtol=1e-12)
