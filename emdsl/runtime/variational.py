"""Mean-field factors: where a sweep starts from, and sweeps until the bound stays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from emdsl.runtime.columns import Array
from emdsl.runtime.faults import DataError


def shares_of_ones(shape: Sequence[int], states: int) -> Array:
    """Equal probabilities over the leading `states` axes."""
    return np.full(shape, 1.0 / max(1, int(np.prod(shape[:states]))))


def unit_covariance(shape: Sequence[int], places: Sequence[int]) -> Array:
    """Identity matrices on the axes at `places`, rows before columns; ones where there are none."""
    out = np.zeros(shape)
    half = len(places) // 2
    grid = np.indices(shape, sparse=True)
    same = np.ones(shape, bool)
    for i, j in zip(places[:half], places[half:], strict=True):
        same &= grid[i] == grid[j]
    out[same] = 1.0
    return out


def plain_member(
    kernel: Callable[..., tuple[Any, Mapping[str, Any]]], natural: Sequence[float], shape: Sequence[int],
    wanted: Mapping[str, tuple[str, str]], rng: np.random.Generator, **axis: Any,
) -> dict[str, Array]:  # fmt: skip
    """Moments of a family near its plain member; each element a little off, so that no two are alike."""
    batch = [n for i, n in enumerate(shape) if i not in axis.get("axes", ())]
    near = [n * rng.uniform(0.8, 1.25, batch) if n else rng.uniform(0.0, 0.5, batch) for n in natural]
    if "axes" in axis:  # of matrices: the log-determinant's, then a multiple of the identity
        near[1] = unit_covariance(shape, axis["axes"]) * natural[1]
    _, found = kernel(*near, **axis)
    fields = {"E": found, "argument": found.get("arguments", {})}
    whole = {"logdet", "df"} if "axes" in axis else set()
    return {
        key: np.broadcast_to(fields[kind][name], batch if name in whole else shape).copy()
        for key, (kind, name) in wanted.items()
    }


def put(factors: dict[str, Array], given: dict[str, Any], latent: str, key: str, plates: int) -> None:
    """The probabilities of a discrete latent that the user starts from: plates first, states last."""
    if latent not in given:
        return
    value = np.asarray(given.pop(latent), float)
    moved = np.moveaxis(value, -1, 0)
    moved = np.moveaxis(moved, 1, -1) if plates > 1 else moved
    if moved.shape != factors[key].shape or not np.isfinite(moved).all() or (moved < 0).any():
        raise DataError(
            f"init: {latent} must hold probabilities of shape {np.moveaxis(factors[key], 0, -1).shape}", code="D016"
        )
    factors[key] = moved / moved.sum(0)


def refuse_factors(given: Mapping[str, Any]) -> None:
    """Starting factors that no rule takes."""
    if given:
        raise DataError(f"init: {', '.join(given)} cannot be started from: only probabilities of discrete latents can",
                        code="D016")  # fmt: skip


def settled(sweep: Callable[[Any], Mapping[str, Any]], factors: Any, tol: float = 1e-9, most: int = 500) -> Any:
    """Factors after sweeps until the bound moves by less than `tol` of 1 + its size."""
    before = -np.inf
    for _ in range(most):
        found = sweep(factors)
        factors, bound = found["state"], float(found["log_likelihood"])
        if abs(bound - before) < tol * (1 + abs(bound)):
            break
        before = bound
    return factors
