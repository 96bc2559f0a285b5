"""Estimates at infinity: parameters along which the objective still rises where a climb has stopped.

All-zero counts under a log rate, groups that a logistic line separates, the degrees of freedom of Gaussian data: no
finite value is best, and a climb ends anywhere far out. Each is tried further out, and at 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from emdsl.runtime.data.columns import Array

Values = dict[str, Array]
FAR = 1e100  # a number this large stands for infinity
BLURRING, TOLD = 1e9, 0.1  # a parameter that may hide the objective's digits, what is too much of that
LARGE, SMALL = 8.0, 1e-3  # values of real, of positive parameters that are looked at
NUMERIC = ("newton", "gradient")  # updates that find no maximum where there is none


def _unbounded(variable: Mapping[str, Any]) -> bool:
    return variable["lower"] is None and variable["upper"] is None and not variable.get("bounded")


def unlimited(
    spec: Mapping[str, Any],
    params: Values,
    objective: Callable[[Values], float],
    noise: Callable[[], float],
    told: Callable[[Values], float] | None = None,
) -> dict[str, str]:
    """Parameter -> where it goes, for each that has no finite estimate; `noise()` is how well the objective is known.

    A number so large that rounding it moves the log-likelihood as another model would is one of them. Where latents
    stand at points, whose error is `told`, so may be their scales: of groups of which each is all or nothing.
    """
    out: dict[str, str] = {}
    kinds = spec.get("updates", {})
    free = [v for v in spec["variables"] if v["name"] in params and _unbounded(v)]
    found: list[tuple[str, Array]] = []
    for v in free:
        name, value = v["name"], np.asarray(params[v["name"]])
        if v["domain"] not in ("real", "positive") or not value.size:
            continue
        if np.abs(value).max() >= FAR:
            out[name] = _goes(float(value.ravel()[np.abs(value).argmax()]))
        elif kinds.get(name, ("",))[0] in NUMERIC:
            if np.abs(value).max() >= BLURRING and noise() >= TOLD:
                out[name] = _goes(float(value.ravel()[np.abs(value).argmax()]))
            found += [(name, chosen) for chosen in _chosen(v["domain"], value)]
    tries = [[pair] for pair in found]
    together = [(v["name"], np.ones(np.shape(params[v["name"]]), bool)) for v in free if v["domain"] == "real"]
    together = [(n, every) for n, every in together if kinds.get(n, ("",))[0] in NUMERIC]
    if len(together) > 1 and {n for n, _ in together} & {n for n, _ in found}:
        tries.append(together)
    scaled = [v["name"] for v in free if v["domain"] == "positive" and kinds.get(v["name"], ("",))[0] not in NUMERIC]
    wide = [(n, np.asarray(params[n]) > LARGE) for n in scaled if told is not None and np.max(params[n]) > LARGE]
    beside = [(v["name"], np.abs(params[v["name"]]) > LARGE) for v in free if v["domain"] == "real"]
    tries += [wide, [*((n, far) for n, far in beside if far.any()), *wide]] if wide else []  # where scales go
    scales = [(v["name"], np.asarray(params[v["name"]]) > 1 / SMALL) for v in free if v["domain"] == "positive"]
    scales = [(n, large) for n, large in scales if large.any()]
    if len(scales) > 1 and {n for n, _ in scales} & {n for n, _ in found}:
        tries.append(scales)  # a shape and a rate, of which one alone leaves the data behind
    here, least = (objective(params), noise()) if tries else (0.0, 0.0)
    for group in tries:
        if any(n in out for n, _ in group):
            continue
        size = max(float(np.abs(params[n][chosen]).max()) for n, chosen in group)
        small, rounding = size < SMALL, max(least, 1e-12 * (1 + abs(here)))
        to = 0.5 if small else 2.0
        if told is not None and wide and group[-1] is wide[-1]:
            rounding += told(params) + told(_scaled(params, group, to))
        middle, further = (objective(_scaled(params, group, c)) for c in (1 / size, to))
        if middle < here - rounding and not further < here - rounding:  # NaN: out there even 0 log 0 has no number
            out |= {n: "0" if small else _goes(float(params[n][chosen].ravel()[0])) for n, chosen in group}
    return out


def _chosen(domain: str, value: Array) -> Iterator[Array]:
    """The elements that are looked at, each alone, and all of them where they are several."""
    if domain == "real":
        far = np.abs(value) > LARGE
    else:
        far = (value > 1 / SMALL) | (value < SMALL)
    for place in list(np.argwhere(far))[:10]:
        alone = np.zeros(value.shape, bool)
        alone[tuple(place)] = True
        yield alone
    if value.size > 1 and far.any():
        yield np.ones(value.shape, bool)


def _scaled(params: Values, group: list[tuple[str, Array]], factor: float) -> Values:
    return params | {n: np.where(chosen, factor * params[n], params[n]) for n, chosen in group}


def _goes(value: float) -> str:
    return "infinity" if value > 0 else "minus infinity"
