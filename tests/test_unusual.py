"""Models that are in no gallery (`cases/`), each against its log-likelihood written directly and scipy's optimiser."""

from __future__ import annotations

from collections import Counter
from zlib import crc32

import numpy as np
import pytest
from cases import Case, conjugate, families, latents, names, priors, regressions, rows, shapes
from oracles.space import maximise

import emdsl

CASES = [
    case for module in (names, shapes, regressions, priors, latents, conjugate, families, rows) for case in module.CASES
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_reaches_the_optimum(case: Case) -> None:
    data, truth = case.make(np.random.default_rng(crc32(case.name.encode())))
    given = {k: v for k, v in data.items() if k != case.weight}
    weight = data[case.weight] if case.weight else None

    def objective(params: object) -> float:
        return case.value(params, data) + (case.prior(params) if case.prior else 0.0)

    model = emdsl.compile(text=case.text)
    assert {name: model.plan[name].method for name in case.plan} == dict(case.plan)
    assert {name: model.updates[name].kind for name in case.updates} == dict(case.updates)
    fitter = model.fitter(**{"seed": 1, "tol": 1e-12, "max_iter": 5000, **case.options})
    est = fitter.fit(given, sample_weight=weight)

    scale = 1 + abs(est.objective_)
    assert abs(est.log_likelihood_ - case.value(est.params_, data)) < 1e-8 * scale
    assert abs(est.objective_ - objective(est.params_)) < 1e-8 * scale
    assert np.diff(est.history_).min(initial=0.0) > -1e-9 * scale
    assert est.history_[-1] == pytest.approx(est.objective_, rel=1e-12)
    for start in (est.params_, truth):
        best, where = maximise(case.text, objective, start)
        assert best - est.objective_ < 1e-6 * scale, (best, est.objective_, where, est.params_)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_starts_where_it_is_told(case: Case) -> None:
    """`history_[0]` is the objective at `init`: the E-step at parameters that no M-step made."""
    data, truth = case.make(np.random.default_rng(crc32(case.name.encode())))
    given = {k: v for k, v in data.items() if k != case.weight}
    weight = data[case.weight] if case.weight else None
    est = emdsl.compile(text=case.text).fitter(max_iter=0).fit(given, sample_weight=weight, init=truth)
    expected = case.value(truth, data) + (case.prior(truth) if case.prior else 0.0)
    assert est.history_[0] == pytest.approx(expected, rel=1e-9)


def test_names_are_unique() -> None:
    assert [name for name, count in Counter(case.name for case in CASES).items() if count > 1] == []
