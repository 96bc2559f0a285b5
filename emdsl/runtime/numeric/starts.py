"""Starting values: neutral points of a domain, the best of a few starts."""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.numeric.numerics import Degenerate


def twin(rng: np.random.Generator | None) -> np.random.Generator | None:
    """A generator that will draw what this one will."""
    if rng is None:
        return None
    other = np.random.Generator(type(rng.bit_generator)())
    other.bit_generator.state = rng.bit_generator.state
    return other


def of(rng: Any, *names: str) -> Any:
    """What the block of these latents starts from: the generator, or what the user gave of them."""
    return rng.of(names) if callable(rng) else rng


POWERS = (0, 1, 2, -2, -1)  # of the data's unit that a scale may have: standard deviations, variances, precisions


def best_start(
    draw: Callable[[int], dict[str, Array]],
    step: Callable[[dict[str, Array]], tuple[dict[str, Array], float]],
    tries: int,
    steps: int,
    margin: float = 0.0,
) -> dict[str, Array]:
    """The best of a few seeded starts after a few EM steps each (Biernacki, Celeux and Govaert 2003).

    `draw(power)` gives parameters, their scales as if they had that power of the data's unit; `step(params)` (new
    parameters, log-likelihood before the step). `margin` is by how much a later start must be better: where starts
    differ in their units alone, what a few steps make up for is no reason to leave the plain one.
    """
    best: dict[str, Array] = {}
    top = -np.inf
    wrong: Exception = np.linalg.LinAlgError("no start has a density")
    for k in range(tries):
        first, value = dict[str, Array](), -np.inf
        try:
            first = params = draw(POWERS[k % len(POWERS)])
            for _ in range(steps):
                params, value = step(params)
        except (Degenerate, np.linalg.LinAlgError) as error:
            value, wrong = -np.inf, error
        if first and (not best or value > top + margin):
            best, top = (params if np.isfinite(value) else first), value
    if not best:
        raise wrong
    return best


UNITS = 4  # of data that differ in kind: no start is searched in more
CLEAR = 0.2  # of its size: by how much a unit must raise the log-likelihood; what is less, fits make up for


def likely_units(
    plain: Callable[[Mapping[str, float], np.random.Generator], dict[str, Array]],
    value: Callable[[dict[str, Array]], float],
    names: Sequence[str],
    data: Sequence[Array],
    rng: np.random.Generator,
    latent: Sequence[str] = (),
) -> dict[str, float]:
    """By name, the power of a unit of the data in which a parameter's neutral value makes them likeliest.

    For parameters that no closed form moves: Newton from a scale of 1 under data in millions is lost, or stops at
    an optimum that nobody wants. `plain(units, rng)` gives neutral parameters, `value(params)` their log-likelihood.
    One parameter after the other, twice; the noise in all values is one. Scales of `latent` numbers become larger only,
    where that is likelier at all: from one far too small, noise explains all of the data, and EM stands still.
    """
    sizes = [float(np.sqrt(np.mean(np.square(a)))) for a in data if a.size]
    units = [u for u in dict.fromkeys(10.0 ** round(float(np.log10(s))) for s in sizes if 0 < s < np.inf) if u != 1]
    powers = dict.fromkeys([0.01, *(u**p for u in units[:UNITS] for p in (1, -1, 2, -2))])
    found, noise = dict.fromkeys(names, 1.0), rng.spawn(1)[0]

    def likelihood(tried: Mapping[str, float]) -> float:
        return _or_worst(value, plain(tried, twin(noise) or noise))

    best = likelihood(found)
    for name in (*names, *names):
        clear = 0.0 if name in latent else CLEAR
        for tried in [{**found, name: factor} for factor in powers if factor > 1 or name not in latent]:
            there = likelihood(tried)
            if there > (best + clear * abs(best) if best > -np.inf else best):
                found, best = tried, there
    return found


def likeliest(starts: Sequence[dict[str, Array]], value: Callable[[dict[str, Array]], float]) -> dict[str, Array]:
    """The start of the highest log-likelihood, the first of equals."""
    return max(starts, key=lambda params: _or_worst(value, params))


def _or_worst(value: Callable[[dict[str, Array]], float], params: dict[str, Array]) -> float:
    try:
        found = float(value(params))
    except (Degenerate, np.linalg.LinAlgError):
        return -np.inf
    return found if found < np.inf else -np.inf  # not a number is no likelihood


def neutral(
    domain: str,
    shape: tuple[int, ...],
    own: int,
    low: Any,
    high: Any,
    rng: np.random.Generator | None,
) -> Array:
    """A plain value of a parameter's domain; with a generator, different in every element."""
    noise = np.zeros(shape) if rng is None else rng.normal(size=shape)
    if domain == "simplex":
        p = np.exp(0.3 * noise)
        return p / p.sum(-1, keepdims=True)
    if domain in ("spd", "correlation"):
        return np.broadcast_to(np.eye(shape[-1]), shape).copy()
    if domain == "ordered":
        return np.broadcast_to(np.linspace(-1.0, 1.0, shape[-1]), shape) + 0.0
    if domain == "zero_sum":
        return noise - noise.mean(-1, keepdims=True)
    if (high is not None and (low is not None or domain == "positive")) or domain == "unit":
        a, b = 0.0 if low is None else low, 1.0 if high is None else high
        return a + (b - a) / (1 + np.exp(-0.5 * noise))
    if low is not None or domain == "positive":
        return (0.0 if low is None else low) + np.exp(0.5 * noise)
    return noise if high is None else high - np.exp(0.5 * noise)


def sample_rows(n: int, rng: np.random.Generator, most: int = 20000) -> slice | Array:
    """All rows, or a seeded sample of them in order."""
    return slice(0, n) if n <= most else np.sort(rng.choice(n, most, replace=False))
