"""Random models against brute force by the interpreter, which shares no code with the derivation."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from oracles.space import Space
from random_models import random_model
from scipy.special import logsumexp

import emdsl
from emdsl.families import PRELUDE
from emdsl.fit.interpret import log_joint
from emdsl.fit.sampling import sample
from emdsl.language import parse_model

pytestmark = pytest.mark.filterwarnings("ignore::emdsl.runtime.data.faults.ConvergenceWarning")

ROWS = {1: 5, 2: 3}  # by how many latents there are


def draw_params(model: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Parameters anywhere in their domains."""
    out: dict[str, Any] = {}
    for v in model.of_kind("param"):
        shape = tuple(s.value({}) for s in v.shape)
        match v.domain.kind:
            case "real":
                out[v.name] = rng.normal(0, 1.5, shape)
            case "positive":
                out[v.name] = rng.gamma(4, 0.3, shape)
            case "unit":
                out[v.name] = rng.uniform(0.2, 0.8, shape)
            case "simplex":
                out[v.name] = rng.dirichlet(3 * np.ones(shape[-1]), shape[:-1])
    return out


@pytest.mark.parametrize("seed", range(10))
def test_random_model(seed: int) -> None:
    text, rng = random_model(seed), np.random.default_rng(1000 + seed)
    parsed = parse_model(text, "random", PRELUDE())
    latents = [v.name for v in parsed.of_kind("latent")]
    n = ROWS[len(latents)]
    params, sizes = draw_params(parsed, rng), {"N": n}
    given = {"x": rng.normal(size=n), "e": rng.gamma(3, 0.4, n)}
    drawn = sample(parsed, params, sizes, seed, given)
    data = {**given, **{v.name: drawn[v.name] for v in parsed.of_kind("observed")}}
    every = [np.array(z).reshape(len(latents), n) for z in product((0, 1), repeat=n * len(latents))]

    def joints(theta: Any, rows: Any) -> Any:
        return np.array(
            [log_joint(parsed, {**theta, **data, **dict(zip(latents, z, strict=True))}, sizes) for z in rows]
        )

    table = joints(params, every)
    model = emdsl.compile(text=text)
    start = model.fitter(max_iter=0).fit(data, init=params)
    assert start.history_[0] == pytest.approx(logsumexp(table), rel=1e-9), text
    weight = np.exp(table - logsumexp(table))
    for i, name in enumerate(latents):
        marginal = sum(w * z[i] for w, z in zip(weight, every, strict=True))
        np.testing.assert_allclose(start.posterior_[name][:, 1], marginal, rtol=1e-8, atol=1e-10, err_msg=text)

    def expected(theta: Any) -> float:
        """Q at theta, given the posterior at the start."""
        return float(np.where(weight > 0, weight * joints(theta, every), 0.0).sum())

    step = model.fitter(max_iter=1, tol=0, on_degenerate="keep").fit(data, init=params)
    top, scale = expected(step.params_), 1 + abs(logsumexp(table))
    assert top > expected(params) - 1e-7 * scale, text
    if all(u.kind in ("closed form", "linear solve") and not u.conditional_on for u in model.updates.values()):
        space = Space(text, step.params_)
        here = space.vector(step.params_)
        for _ in range(4):
            there = space.params(here + rng.normal(0, 0.02, here.shape))
            assert expected(there) < top + 1e-7 * scale, (text, step.params_, there)
