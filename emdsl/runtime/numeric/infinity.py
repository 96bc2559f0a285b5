"""Estimates at infinity: parameters along which the objective still rises where a climb has stopped.

All-zero counts under a log rate, groups that a logistic line separates, a level above the last that was seen, the
degrees of freedom of Gaussian data: no finite value is best, and a climb ends anywhere far out. Each is tried further
out, and at 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from emdsl.runtime.data.columns import Array

Values = dict[str, Array]
Company = list[tuple[str, Array]]  # elements that move together, by their parameters
FAR = 1e100  # a number this large stands for infinity
BLURRING, TOLD = 1e9, 0.1  # a parameter that may hide the objective's digits, what is too much of that
LARGE, SMALL = 2.5, 1e-3  # values of real, of positive parameters that are looked at (exp(exp(2.5)) is 2e5)
NUMERIC = ("newton", "gradient")  # updates that find no maximum where there is none


def _unbounded(variable: Mapping[str, Any]) -> bool:
    return variable["lower"] is None and variable["upper"] is None and not variable.get("bounded")


def _continuous(variable: Mapping[str, Any]) -> bool:
    whole = (variable.get("support") or (0, 0, "real"))[2] == "int"
    return variable["domain"] not in ("bool", "category", "count", "index") and not whole


def unlimited(
    spec: Mapping[str, Any],
    params: Values,
    objective: Callable[[Values], float],
    noise: Callable[[], float],
    told: Callable[[Values], float] | None = None,
) -> dict[str, str]:
    """Parameter -> where it goes, for each that has no finite estimate; `noise()` is how well the objective is known.

    A number so large that rounding it moves the log-likelihood as another model would is one of them. Where latents
    stand at points, whose error is `told`, so may be their scales: of groups of which each is all or nothing. Updates
    in closed form have a maximum where data are numbers; of latents seen by their signs they lead on and on.
    """
    out: dict[str, str] = {}
    kinds, domains = spec.get("updates", {}), {v["name"]: v["domain"] for v in spec["variables"]}
    free = [
        v["name"] for v in spec["variables"] if v["name"] in params and _unbounded(v) and np.size(params[v["name"]])
    ]
    numbers = any(v["kind"] == "observed" and _continuous(v) for v in spec["variables"])
    numeric = {n for n in free if kinds.get(n, ("",))[0] in NUMERIC}
    open_ended = numeric if numbers else {*numeric, *(n for n in free if domains[n] in ("real", "ordered"))}
    found: Company = []
    for name in (n for n in free if domains[n] in ("real", "positive", "ordered")):
        value = np.asarray(params[name])
        if np.abs(value).max() >= FAR:
            out[name] = _goes(float(value.ravel()[np.abs(value).argmax()]))
        elif name in open_ended:
            if name in numeric and np.abs(value).max() >= BLURRING and noise() >= TOLD:
                out[name] = _goes(float(value.ravel()[np.abs(value).argmax()]))
            found += [(name, chosen) for chosen in _chosen(domains[name], value)]
    tries = [[pair] for pair in found]
    lines = [n for n in free if domains[n] in ("real", "ordered") and n in open_ended]
    together = [(n, np.ones(np.shape(params[n]), bool)) for n in lines]
    if len(together) > 1 and {n for n, _ in together} & {n for n, _ in found}:
        tries.append(together)
    scaled = [n for n in free if domains[n] == "positive" and n not in numeric]
    wide = [(n, np.asarray(params[n]) > 8.0) for n in scaled if told is not None and np.max(params[n]) > 8.0]
    beside = [(n, np.abs(params[n]) > LARGE) for n in free if domains[n] == "real"]
    tries += [wide, [*((n, far) for n, far in beside if far.any()), *wide]] if wide else []  # where scales go
    scales = [(n, np.asarray(params[n]) > 1 / SMALL) for n in free if domains[n] == "positive"]
    scales += [(n, np.abs(params[n] - 0.5) > 0.5 - SMALL) for n in free if domains[n] == "unit"]
    scales = [(n, large) for n, large in scales if large.any()]
    if len(scales) > 1 and {n for n, _ in scales} & {n for n, _ in found}:
        tries.append(scales)  # a shape and a rate, a size and a probability: one alone leaves the data behind
    here, least = (objective(params) if tries else 0.0), None
    for group in tries:
        if any(n in out for n, _ in group):
            continue
        size, to = _size(params, group, domains), 2.0
        if small := size < SMALL:
            to = 0.5
        further = objective(_scaled(params, group, to, domains))
        at_points = told is not None and wide and group[-1] is wide[-1]
        if further < here - TOLD and not at_points:
            continue
        least = noise() if least is None else least
        rounding = max(least, 1e-10 * (1 + abs(here)))
        if told is not None and at_points:
            rounding += told(params) + told(_scaled(params, group, to, domains))
        if further < here - rounding:  # NaN is not: out there even 0 log 0 has no number
            continue
        if objective(_scaled(params, group, 1 / size, domains)) < here - rounding:
            out |= {n: _end(domains[n], params[n][chosen], small) for n, chosen in group}
    return out


def _end(domain: str, value: Array, small: bool) -> str:
    if domain == "unit":
        return f"{round(float(value[0]))}"
    return "0" if small else _goes(float(value[np.abs(value).argmax()]))


def _chosen(domain: str, value: Array) -> Iterator[Array]:
    """The elements that are looked at, each alone, and all of them where they are several.

    Of ordered ones what lies beyond a wide gap, on either side of it; all where they are far out.
    """
    if domain == "ordered":
        for place in list(np.argwhere(np.diff(value) > LARGE))[:10]:
            for beyond in (slice(place[-1] + 1, None), slice(None, place[-1] + 1)):
                side = np.zeros(value.shape, bool)
                side[(*place[:-1], beyond)] = True
                yield side
        far = np.abs(value) > LARGE
    elif domain == "real":
        far = np.abs(value) > LARGE
    else:
        far = (value > 1 / SMALL) | (value < SMALL)
    for place in [] if domain == "ordered" else list(np.argwhere(far))[:10]:
        alone = np.zeros(value.shape, bool)
        alone[tuple(place)] = True
        yield alone
    if value.size > 1 and far.any():
        yield np.ones(value.shape, bool)


def _from(value: Array, chosen: Array) -> Array:
    """What each ordered element is measured from: its nearest neighbour that stays where it is, 0 where none does."""
    if chosen.all() or not chosen.any():
        return np.zeros(value.shape)
    least = np.where(chosen, np.inf, value).min(-1, keepdims=True)
    most = np.where(chosen, -np.inf, value).max(-1, keepdims=True)
    anchor = np.where(value > most, most, least)
    return np.where(np.isfinite(anchor) & chosen, anchor, 0.0)


def _size(params: Values, group: Company, domains: Mapping[str, str]) -> float:
    sizes = [0.0]
    for n, chosen in group:
        if domains[n] != "unit":
            value = np.asarray(params[n])
            value = value - _from(value, chosen) if domains[n] == "ordered" else value
            sizes.append(float(np.abs(value[chosen]).max()))
    return max(sizes)


def _scaled(params: Values, group: Company, factor: float, domains: Mapping[str, str]) -> Values:
    """Elements that are `factor` times what they are, from 0 or a neighbour; of probabilities the odds."""
    out = dict(params)
    for n, chosen in group:
        value = np.asarray(params[n], float)
        if domains[n] == "unit":
            rest = np.where(value > 0.5, (1 - value) / factor, value / factor)
            odds = rest / np.where(value > 0.5, value, 1 - value)
            moved = np.where(value > 0.5, 1 / (1 + odds), odds / (1 + odds))
        elif domains[n] == "ordered":
            start = _from(value, chosen)
            moved = start + factor * (value - start)
        else:
            moved = factor * value
        out[n] = np.where(chosen, moved, value)
    return out


def _goes(value: float) -> str:
    return "infinity" if value > 0 else "minus infinity"
