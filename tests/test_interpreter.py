"""The interpreter, which later certificates stand on, against the likelihoods written directly in `cases/`."""

from __future__ import annotations

from typing import Any
from zlib import crc32

import numpy as np
import pytest
from cases import Case, joint
from gallery import written
from scipy import stats
from scipy.special import log_ndtr, logsumexp
from test_unusual import CASES

import emdsl
from emdsl.fit.interpret import log_joint
from emdsl.fit.sampling import sample
from emdsl.fit.sizes import complete_sizes
from emdsl.language.model import Ragged


def bound(case: Case) -> tuple[Any, dict[str, Any], dict[str, Any], dict[str, int], dict[str, Any]]:
    """Model, data as made, values as the interpreter wants them, sizes, lengths of ragged plates."""
    data, truth = case.make(np.random.default_rng(crc32(case.name.encode())))
    model = written(case.text).resolved
    values: dict[str, Any] = {**truth, **{k: v for k, v in data.items() if k != case.weight}}
    lengths: dict[str, Any] = {}
    known: dict[str, int] = dict(case.options_sizes())
    for v in model.variables:
        ragged = [s for s in v.shape if isinstance(s, Ragged)]
        if ragged and v.name in data:
            lengths[ragged[0].name] = [len(x) for x in data[v.name]]
            values[v.name] = np.concatenate([np.asarray(x) for x in data[v.name]])
    given = {k: v for k, v in values.items() if any(x.name == k for x in model.variables)}
    for v in model.variables:
        if v.domain.kind == "index" and v.name in data:
            known.setdefault(str(v.domain.levels), int(np.max(data[v.name])) + 1)
    parents = {v.plates[0].size.name: len(n) for v in model.variables for n in lengths.values() if v.plates}
    sizes = complete_sizes(model, given, {**known, **(parents if lengths else {})})
    return model, data, given, sizes, lengths


@pytest.mark.parametrize("case", [c for c in CASES if not c.weight], ids=lambda c: c.name)
def test_log_joint(case: Case) -> None:
    model, data, values, sizes, lengths = bound(case)
    truth = {v.name: values[v.name] for v in model.of_kind("param")}
    prior = case.prior(truth) if case.prior else 0.0
    latents = model.of_kind("latent")
    if not latents and not any(np.isnan(np.asarray(v, float)).any() for v in values.values()):
        found = log_joint(model, values, sizes, lengths)
        assert found == pytest.approx(case.value(truth, data) + prior, rel=1e-9)
    table = joint(case, truth, data)
    if len(latents) != 1 or table is None:
        return
    shape = tuple(s.value(sizes) for s in latents[0].shape)
    for k in range(table.shape[-1]):
        found = log_joint(model, {**values, latents[0].name: np.full(shape, k)}, sizes, lengths)
        expected = case.value(truth, data) - logsumexp(table, axis=-1).sum() + table[..., k].sum() + prior
        assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("case", [c for c in CASES if "Multinomial(" not in c.text], ids=lambda c: c.name)
def test_draws_have_the_shapes_and_support_declared(case: Case) -> None:
    """What the sampler draws has a finite log joint. (A Multinomial without trials has no total to draw.)"""
    model, _, values, sizes, lengths = bound(case)
    params = {v.name: values[v.name] for v in model.of_kind("param")}
    given = {v.name: values[v.name] for v in model.of_kind("given") if v.name in values}
    drawn = sample(model, params, sizes, 3, given, lengths)
    assert set(drawn) == {v.name for v in model.variables if v.kind in ("latent", "observed")}
    assert np.isfinite(log_joint(model, {**params, **given, **drawn}, sizes, lengths))


@pytest.mark.parametrize(
    ("values", "sizes", "words"),
    [
        ({"y": [1.0, 2.0]}, {"N": 2}, "`a` has no value"),
        ({"a": 0.5, "y": [1.0, 2.0]}, {"N": 1}, "an axis of length N is 2 long, not 1"),
        ({"a": 0.5, "y": [1.0, 2.0]}, {}, None),
    ],
)
def test_what_a_log_joint_needs_is_said(values: dict[str, Any], sizes: dict[str, int], words: str | None) -> None:
    model = emdsl.compile(text="model M\nparam a : real\nfor n in N:\n    observed y[n] ~ Normal(a, 1)\n")
    if words is None:
        assert model.log_joint(values, sizes) == pytest.approx(stats.norm(0.5, 1).logpdf([1.0, 2.0]).sum())
        return
    with pytest.raises(emdsl.DataError, match=words):
        model.log_joint(values, sizes)


@pytest.mark.parametrize("mean", [-3.0, -60.0, 60.0, 500.0])
def test_a_cut_density_far_out_in_its_tail(mean: float) -> None:
    """Where the mass above or below the cut is less than the least float, its log is known all the same."""
    above = "model M\ngiven m : real\nfor n in N:\n    observed y[n] : real(min = -2) ~ Normal(m, 0.4)\n"
    inside = "model M\ngiven m : real\nfor n in N:\n    observed y[n] : real(min = 1, max = 1.5) ~ Normal(m, 0.4)\n"
    y, values = np.array([1.2, 1.4]), {"m": np.array(mean)}
    free = stats.norm.logpdf(y, mean, 0.4)
    cut = (free - log_ndtr((mean + 2) / 0.4)).sum()
    assert log_joint(written(above).resolved, {"y": y, **values}, {"N": 2}) == pytest.approx(cut, rel=1e-11)
    ends = (mean - np.array([1, 1.5])) / 0.4
    near, far = sorted(log_ndtr(-abs(ends)), reverse=True)
    cut = (free - near - np.log1p(-np.exp(far - near))).sum()
    assert log_joint(written(inside).resolved, {"y": y, **values}, {"N": 2}) == pytest.approx(cut, rel=1e-11)


def test_a_cut_count_far_out_in_its_tail() -> None:
    text = "model M\nfor n in N:\n    observed y[n] : count(min = 60) ~ Poisson(1e-6)\n"
    y = np.array([60, 61])
    terms = stats.poisson.logpmf(np.arange(60, 80), 1e-6)
    expected = (stats.poisson.logpmf(y, 1e-6) - logsumexp(terms)).sum()
    assert log_joint(written(text).resolved, {"y": y}, {"N": 2}) == pytest.approx(expected, rel=1e-12)
