"""Discrete latents against brute force: a few rows drawn from each model, every configuration of the latents summed.

The terms of the sum are the interpreter's, which shares no code with the derivation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
import pytest
from cases import Case
from gallery import written
from scipy.special import logsumexp
from test_interpreter import bound
from test_unusual import CASES

from emdsl.fit.interpret import log_joint
from emdsl.fit.sampling import sample
from emdsl.language.model import ModelText, Ragged, Variable

pytestmark = pytest.mark.filterwarnings("ignore::emdsl.runtime.data.faults.ConvergenceWarning")

ROWS, MOST = 3, 3000
LENGTHS = [2, 0, 1]


def levels(v: Variable, sizes: Mapping[str, int]) -> int | None:
    """How many values an element can take, where that can be read off the domain."""
    match v.domain.kind:
        case "bool":
            return 2
        case "category" if v.domain.levels is not None:
            return v.domain.levels.value(sizes)
    return None


def small(case: Case, rows: int = ROWS) -> tuple[ModelText, dict[str, Any], dict[str, Any], dict[str, int], Any]:
    """Model, parameters, data with a few rows drawn from it, sizes, lengths."""
    model, _, values, sizes, lengths = bound(case)
    fixed = {n for v in model.of_kind("param") for s in v.shape if not isinstance(s, Ragged) for n in s.names}
    plates = {p.size.name for v in model.variables for p in v.plates if not isinstance(p.size, Ragged)}
    sizes = {name: min(n, rows) if name in plates and name not in fixed else n for name, n in sizes.items()}
    lengths = dict.fromkeys(lengths, LENGTHS)
    given = {}
    for v in model.of_kind("given"):
        if v.name not in values:
            continue
        array = np.asarray(values[v.name])[tuple(slice(s.value(sizes)) for s in v.shape)]
        given[v.name] = array % v.domain.levels.value(sizes) if v.domain.kind == "index" else array
    params = {v.name: values[v.name] for v in model.of_kind("param")}
    drawn = sample(model, params, sizes, 5, given, lengths)
    observed = {v.name: drawn[v.name] for v in model.of_kind("observed")}
    return model, params, {**given, **observed}, sizes, lengths


def configurations(model: ModelText, sizes: Mapping[str, int], lengths: Mapping[str, Any]) -> Any:
    """Per latent its shape and number of levels; None where brute force is out of reach."""
    shapes, total = {}, 1.0
    for v in model.of_kind("latent"):
        n = levels(v, sizes)
        if n is None:
            return None
        ragged = any(isinstance(s, Ragged) for s in v.shape)
        shape = (sum(LENGTHS),) if ragged else tuple(s.value(sizes) for s in v.shape)
        shapes[v.name] = (shape, n)
        total *= float(n) ** int(np.prod(shape))
    return shapes if shapes and total <= MOST else None


def discrete(case: Case) -> bool:
    """Whether all latents are categories, read off the text: it is asked of every case while tests are collected."""
    families = re.findall(r"^ *latent\b.*?~ *(\w+)", case.text, re.M)
    return bool(families) and set(families) <= {"Bernoulli", "Categorical"} and not case.weight


def as_data(model: ModelText, data: Mapping[str, Any]) -> dict[str, Any]:
    """Ragged variables as lists of arrays."""
    out = dict(data)
    for v in model.variables:
        if v.name in out and any(isinstance(s, Ragged) for s in v.shape):
            out[v.name] = np.split(np.asarray(out[v.name]), np.cumsum(LENGTHS)[:-1])
    return out


@pytest.mark.parametrize(
    "case", [c for c in CASES if discrete(c) and "Multinomial(" not in c.text], ids=lambda c: c.name
)
def test_every_configuration(case: Case) -> None:
    """The log-likelihood and each latent's marginal posterior are sums over all configurations."""
    model, params, data, sizes, lengths = small(case)
    shapes = configurations(model, sizes, lengths)
    if shapes is None:
        model, params, data, sizes, lengths = small(case, ROWS - 1)
        shapes = configurations(model, sizes, lengths)
    assert shapes, "too large for brute force"
    cells = [(name, n) for name, (shape, n) in shapes.items() for _ in range(int(np.prod(shape)))]
    every, terms = list(product(*(range(n) for _, n in cells))), []
    for values in every:
        latents = {
            name: np.array([x for x, (owner, _) in zip(values, cells, strict=True) if owner == name]).reshape(shape)
            for name, (shape, _) in shapes.items()
        }
        terms.append(log_joint(model, {**params, **data, **latents}, sizes, lengths))
    prior = case.prior(params) if case.prior else 0.0
    passed = {name: n for name, n in sizes.items() if any(s.name == name for s in model.sizes)}
    est = written(case.text).fitter(max_iter=0, sizes=passed).fit(as_data(model, data), init=params)
    assert est.history_[0] == pytest.approx(logsumexp(terms), rel=1e-10)
    assert est.log_likelihood_ == pytest.approx(logsumexp(terms) - prior, rel=1e-10)

    weight = np.exp(np.array(terms) - logsumexp(terms))
    table = np.array(every)
    for name, (_, n) in shapes.items():
        mine = [i for i, (owner, _) in enumerate(cells) if owner == name]
        marginal = np.stack([[weight[table[:, i] == k].sum() for k in range(n)] for i in mine]) if mine else []
        found = est.posterior_[name]
        found = np.concatenate(found) if isinstance(found, list) else np.asarray(found)
        np.testing.assert_allclose(found.reshape(-1, n), marginal, rtol=1e-9, atol=1e-12)
