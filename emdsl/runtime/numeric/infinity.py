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
from emdsl.runtime.numeric.ways import ENDLESS, SPREAD, Together, distance, further, goes, going, rises

Values = dict[str, Array]
Company = list[tuple[str, Array]]  # elements that move together, by their parameters
FAR = 1e100  # a number this large stands for infinity
BLURRING, SQUARED, TOLD = 1e9, 1e4, 0.1  # what may hide the objective's digits, or its square; too much of that
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
    noise: Callable[[Values], float],
    told: Callable[[Values], float] | None = None,
) -> dict[str, str]:
    """Parameter -> where it goes, for each that has no finite estimate; `noise` is how well the objective is known.

    A number so large that rounding it moves the log-likelihood as another model would is one of them, and so is one
    whose square may be (a concentration), where half of it is as good as far as is known. Where latents stand at
    points, whose error is `told`, so may be their scales: of groups of which each is all or nothing. Updates in closed
    form have a maximum where data are numbers; of latents seen by their signs they lead on and on.
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
            out[name] = goes(value)
        elif name in open_ended:
            largest = np.abs(value).max()
            if name in numeric and largest >= SQUARED and (blur := noise(params)) >= TOLD:
                half = SPREAD * blur + objective({**params, name: value / 2})
                if largest >= BLURRING or half >= objective(params):
                    out[name] = goes(value)
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
        size = _size(params, group, domains)
        way = [going(n, domains[n], params[n], chosen, size < SMALL) for n, chosen in group]

        def at(far: float, way: Together = way) -> float:
            return objective(further(params, way, far))

        at_points = told is not None and wide and group[-1] is wide[-1]
        if at(ENDLESS.on) < here - TOLD and not at_points:
            continue
        least = noise(params) if least is None else least
        noisy = max(least, noise(further(params, way, ENDLESS.on)))  # there is more of it farther out
        rounding = max(SPREAD * noisy, 1e-10 * (1 + abs(here)))
        if told is not None and at_points:
            rounding += told(params) + told(further(params, way, ENDLESS.on))
        at_one = size if size < SMALL else 1 / size
        if rises(at, here, ENDLESS._replace(back=at_one, gained=rounding, ahead=-rounding)):
            out |= {p.name: p.to for p in way}
    return out


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


def _size(params: Values, group: Company, domains: Mapping[str, str]) -> float:
    """How far the farthest element has gone; probabilities go with others."""
    return max((distance(domains[n], params[n], chosen) for n, chosen in group if domains[n] != "unit"), default=0.0)
