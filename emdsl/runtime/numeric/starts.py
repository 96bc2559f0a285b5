"""Starting values: neutral points of a domain, the best of a few starts."""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

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


class Turned:
    """The normal numbers that starts differ by: every second start has those of the one before with their signs turned.

    What is flat at 0 (the slope on a latent that is positive, under which data are skew) is left by EM on the side of 0
    that it starts on, if at all.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng, self.drawn = rng, list[Array]()
        self.again: list[Array] = []

    def begin(self, k: int) -> None:
        """Start number `k` is next."""
        self.again, self.drawn = [-n for n in self.drawn] if k % 2 else [], []

    def normal(self, size: Any) -> Array:
        noise = self.again.pop(0) if self.again else np.asarray(self.rng.normal(size=size))
        self.drawn.append(noise)
        return noise


def of(rng: Any, *names: str) -> Any:
    """What the block of these latents starts from: the generator, or what the user gave of them."""
    return rng.of(names) if callable(rng) else rng


POWERS = (0, 1, 2, -2, -1)  # of the data's unit that a scale may have: standard deviations, variances, precisions


RACED_NUMBERS = 20_000  # numbers of data up to which many starts are raced: each step over them takes milliseconds
RACED_HEATS = ((6, 10), (3, 20))  # how many of these starts go on at most, and for how many steps
HEAT_AT_POINTS = ((3, 8),)
MET = 0.1  # of log-likelihood: starts that differ by less have found one place


class _Run(NamedTuple):
    """A start on its way: where it is, its log-likelihood there, and what its last step gained."""

    params: dict[str, Array]
    value: float
    gain: float


def best_start(
    draw: Callable[..., dict[str, Array]],
    step: Callable[[dict[str, Array], str], tuple[dict[str, Array], float]],
    tries: int,
    steps: int,
    margin: float = 0.0,
    heats: Sequence[tuple[int, int]] = (),
    noise: Turned | None = None,
) -> dict[str, Array]:
    """The best of a few seeded starts after a few EM steps each (Biernacki, Celeux and Govaert 2003).

    `draw(power)` gives parameters, their scales as if they had that power of the data's unit (with `noise`, where there
    is one, by that); `step(params, policy)`
    (new parameters, log-likelihood before the step). `margin` is by how much a later start must be better: where starts
    differ in their units alone, what a few steps make up for is no reason to leave the plain one. In each of the
    `heats` so many of them go on for so many steps, those that may still become the best: which of two hills is the
    higher one shows late. One that collapses there is out. Where the first five have met there are no others.
    """
    runs: list[_Run] = []
    wrong: Exception = np.linalg.LinAlgError("no start has a density")
    for k in range(tries):
        if k == 5 and heats and (not runs or _all_met(runs)):
            break
        first = dict[str, Array]()
        try:
            if noise is not None:
                noise.begin(k)
            first = draw(POWERS[k % len(POWERS)], *(() if noise is None else (noise,)))
            runs.append(_gone_on(step, _Run(first, -np.inf, 0.0), steps, "keep"))
        except (Degenerate, np.linalg.LinAlgError) as error:
            wrong = error
            runs += [_Run(first, -np.inf, 0.0)] if first else []
    if not runs:
        raise wrong
    best = runs[0]
    for run in runs[1:]:
        best = run if run.value > best.value + margin else best
    for count, more in heats:
        runs = _contenders(runs, count, more)
        if len(runs) < 2:
            break
        runs = [r for r in (_or_out(step, r, more) for r in runs) if np.isfinite(r.value)]
        best = max(runs, key=lambda r: r.value, default=best)
    return best.params


def _contenders(runs: Sequence[_Run], count: int, more: int) -> list[_Run]:
    """The best of these, without those that would be no better at twice their pace, and those that have met others."""
    out: list[_Run] = []
    for r in sorted((r for r in runs if np.isfinite(r.value)), key=lambda r: -r.value):
        behind = bool(out) and r.value + 2 * more * r.gain <= out[0].value + MET
        if len(out) < count and not behind and not any(o.value - r.value < MET for o in out):
            out.append(r)
    return out


def _all_met(runs: Sequence[_Run]) -> bool:
    """Whether all of these are at one place, and climb no more."""
    values = [r.value for r in runs]
    return max(values) - min(values) < MET and all(20 * r.gain < MET for r in runs)


def _gone_on(step: Callable[..., tuple[dict[str, Array], float]], run: _Run, steps: int, policy: str) -> _Run:
    """The same after so many steps; what its value is not a number at, before them."""
    params, values = run.params, [run.value]
    for _ in range(steps):
        params, value = step(params, policy)
        values.append(value)
    if not np.isfinite(values[-1]):
        return _Run(run.params, -np.inf, 0.0)
    return _Run(params, values[-1], values[-1] - values[-2] if np.isfinite(values[-2]) else np.inf)


def _or_out(step: Callable[..., tuple[dict[str, Array], float]], run: _Run, steps: int) -> _Run:
    try:
        return _gone_on(step, run, steps, "raise")
    except (Degenerate, np.linalg.LinAlgError):
        return _Run(run.params, -np.inf, 0.0)


def many_starts(data: Mapping[str, Array]) -> dict[str, Any]:
    """What `best_start` is asked for where states are told apart: more of it where the data are few."""
    few = sum(np.size(v) for v in data.values()) <= RACED_NUMBERS
    return {"tries": 10, "steps": 6, "heats": RACED_HEATS} if few else {"tries": 5, "steps": 6}


def some_starts(data: Mapping[str, Array]) -> dict[str, Any]:
    """What it is asked for where none are: the same few starts, which go on where the data are few."""
    few = sum(np.size(v) for v in data.values()) <= RACED_NUMBERS
    return {"tries": 5, "steps": 6, "heats": RACED_HEATS if few else ()}


def starts_at_points(data: Mapping[str, Array]) -> dict[str, Any]:
    """What it is asked for where latents stand at points: few starts, for a step takes long; hills are told by more."""
    few = sum(np.size(v) for v in data.values()) <= RACED_NUMBERS
    return {"tries": 3, "steps": 2, "heats": HEAT_AT_POINTS if few else ()}


UNITS = 4  # of data that differ in kind: no start is searched in more
UNSURE = 1e-6  # of 1 + its size: a log-likelihood that its parameters' last digits move by more is rounding
ZEROS = 32  # binary digits, of 53
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
            least = best + clear * abs(best) if best > -np.inf else best
            if there > least and is_told(value, plain(tried, twin(noise) or noise), there):
                found, best = tried, there
    return found


def likeliest(starts: Sequence[dict[str, Array]], value: Callable[[dict[str, Array]], float]) -> dict[str, Array]:
    """The start of the highest log-likelihood that has digits, the first of equals."""
    values = [_or_worst(value, params) for params in starts]
    order = sorted(range(len(starts)), key=lambda k: -values[k])
    return starts[next((k for k in order if is_told(value, starts[k], values[k])), order[0])]


def is_told(value: Callable[[dict[str, Array]], float], params: dict[str, Array], told: float) -> bool:
    """Whether a log-likelihood has digits, or is what rounding leaves of huge terms that cancel.

    That is a few units in their last place, so that it ends in zeros, and it is another number next door.
    """
    mantissa = int(np.ldexp(np.frexp(told)[0], 53)) if np.isfinite(told) else 0
    if mantissa % 2**ZEROS == 0:
        return False
    moved = [{n: v * (1 + by * 2.0**-52) if v.dtype == float else v for n, v in params.items()} for by in (-2, 3, 7)]
    return all(abs(_or_worst(value, near) - told) <= UNSURE * (1 + abs(told)) for near in moved)


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
    rng: np.random.Generator | Turned | None,
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


SAMPLED = 20_000  # rows: of more than these a sample is divided, and climbed from, to find a start


def some_rows(
    data: Any, prepared: Mapping[str, Any], plate: str, names: Sequence[str], rng: np.random.Generator,
    prepare: Callable[[Any], Mapping[str, Any]],
) -> tuple[Any, Mapping[str, Any]]:  # fmt: skip
    """The data and what is prepared of them, in one piece; where rows are many, of a seeded sample of those that count.

    `names` are the variables on the plate of the rows, on which nothing else depends.
    """
    n = max((chunk.stop for chunk in prepared["the chunks"]), default=0)
    if n <= SAMPLED or plate not in data.sizes:  # a number of rows that the model says
        return data, {**prepared, "the chunks": [slice(0, n)]}
    weights = data.weights if data.weighted == plate else None
    rows = np.arange(n) if weights is None else np.flatnonzero(weights)
    rows = rows if len(rows) <= SAMPLED else np.sort(rng.choice(rows, SAMPLED, replace=False))
    values = {k: v[rows] if k in names else v for k, v in data.values.items()}
    masks = {k: v[rows] if k in names and v is not None else v for k, v in data.masks.items()}
    weights = data.weights if weights is None else weights[rows]
    some = data._replace(sizes={**data.sizes, plate: len(rows)}, values=values, masks=masks, weights=weights)
    return some, {**prepare(some), "the chunks": [slice(0, len(rows))]}
