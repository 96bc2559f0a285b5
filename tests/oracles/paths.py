"""EM by hand: the loop that every oracle of this folder runs through, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

Array = NDArray[np.float64]
Params = Mapping[str, Array]


@dataclass(frozen=True)
class Path:
    """What EM did: `history[i]` is the log-likelihood before M-step i+1, the last one at `params`."""

    history: Array
    params: dict[str, Array]


EStep = Callable[[Params], tuple[float, object]]
MStep = Callable[[object], Params]


def climb(e_step: EStep, m_step: MStep, start: Params, steps: int) -> Path:
    """`steps` M-steps from `start`."""
    params = {k: np.asarray(v, float) for k, v in start.items()}
    history = []
    for _ in range(steps):
        value, expected = e_step(params)
        history.append(value)
        params = {**params, **{k: np.asarray(v, float) for k, v in m_step(expected).items()}}
    history.append(e_step(params)[0])
    return Path(np.array(history), params)


def responsibilities(log_joint: Array, weight: Array) -> tuple[float, Array]:
    """Log-likelihood and weighted posterior of a discrete latent; `log_joint` is (N, K), `weight` (N,)."""
    total = logsumexp(log_joint, axis=1)
    return float(weight @ total), np.exp(log_joint - total[:, None]) * weight[:, None]


def mixture(
    log_density: Callable[[Params], Array],
    m_step: Callable[[Array], Params],
    start: Params,
    steps: int,
    weight: Array,
    weights: str = "weights",
) -> Path:
    """EM of a mixture: `log_density(params)` is (N, K), `m_step(r)` the components given weighted posteriors."""

    def expect(params: Params) -> tuple[float, object]:
        with np.errstate(divide="ignore"):
            return responsibilities(np.log(params[weights]) + log_density(params), weight)

    def maximise(r: object) -> Params:
        assert isinstance(r, np.ndarray)
        return {weights: r.sum(0) / r.sum(), **m_step(r)}

    return climb(expect, maximise, start, steps)
