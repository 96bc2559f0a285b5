"""Draws that move with the parameters, as posterior means and spreads do: less of their information is missing then.

A draw b, in free coordinates, is b(t) = m + exp(D d) (b - m) + C d at parameters t = t0 + d. For any fixed m, C and D,
log p(data, b(t) | t) + log |db(t) / db| is a log density of complete data with the same likelihood of t, so that
Louis's and Fisher's identities hold for it. With C = Cov[b, s] and D = Cov[(b - m)^2, s] / (2 Var[b]), s the score of
the part that b is in, d E[b] / dt = C and d Var[b] / dt = 2 D Var[b]: of a nearly Gaussian posterior all is carried.
"""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from emdsl.runtime.columns import Array
from emdsl.runtime.loop import Setup
from emdsl.runtime.unconstrained import from_free, stretch, to_free

TELLING = 12.0  # a covariance whose squared correlation is below this over the number of draws is taken for noise
MOST_TOGETHER_CARRIED = 5  # numbers of one part, for each of which covariances are learnt from some hundred draws


class Carried:
    """What of the draws moves, and how: learnt from `seen` draws and scores, then fixed."""

    def __init__(self, setup: Setup, draws: Mapping[str, Any], parts: int) -> None:
        entries = {v["name"]: v for v in setup.module.SPEC["variables"] if v["name"] in draws}
        self.parts, self.count = parts, 0
        self.bounds: dict[str, tuple[Any, Any]] = {}
        self.domains: dict[str, str] = {}
        for n, v in entries.items():
            plain = all(b is None or isinstance(b, int | float) for b in (v["lower"], v["upper"]))
            continuous = np.issubdtype(np.asarray(draws[n]).dtype, np.floating)
            if v["domain"] in ("real", "positive", "unit") and plain and continuous:
                self.domains[n], self.bounds[n] = v["domain"], (v["lower"], v["upper"])
        if sum(np.size(draws[n]) for n in self.domains) > MOST_TOGETHER_CARRIED * parts:
            self.domains = {}
        self.sums: dict[str, list[Any]] = {}
        self.about: dict[str, Array] = {}
        self.score: list[Any] = [0.0, 0.0]
        self.score_about: Any = 0.0
        self.laws: dict[str, tuple[Array, Array, Array]] = {}

    def _free(self, name: str, value: Any) -> Array:
        return to_free(value, self.domains[name], self.bounds[name])

    def see(self, draws: Mapping[str, Any], scores: Array) -> None:
        """Sums over one draw and the scores (p, parts) of its parts, about those of the first."""
        first = not self.count
        self.count += 1
        self.score_about = scores if first else self.score_about
        s = scores - self.score_about
        self.score = [self.score[0] + s, self.score[1] + s**2]
        for n in self.domains:
            z = self._free(n, draws[n])
            self.about.setdefault(n, z)
            z = z - self.about[n]
            along = s.reshape(len(s), *(1,) * (z.ndim - 1), s.shape[1]) if z.ndim else s[:, 0]
            new = [z, z**2, z**3, z**4, z * along, z**2 * along]
            self.sums[n] = new if first else [a + b for a, b in zip(self.sums[n], new, strict=True)]

    def learn(self) -> None:
        """The law of each latent, from what was seen; covariances that noise explains are left out."""
        n = float(max(1, self.count))
        mean_s, square_s = (v / n for v in self.score)
        for name, sums in self.sums.items():
            z, z2, z3, z4, zs, z2s = (v / n for v in sums)
            shape = (len(mean_s), *(1,) * (z.ndim - 1), mean_s.shape[1]) if z.ndim else (len(mean_s),)
            s, var_s = mean_s.reshape(shape), np.maximum(square_s - mean_s**2, 1e-300).reshape(shape)
            var = np.maximum(z2 - z**2, 1e-300)
            shift = zs - z * s
            fourth = z4 - 4 * z * z3 + 6 * z**2 * z2 - 3 * z**4
            stretched = z2s - z2 * s - 2 * z * shift
            spread = np.maximum(fourth - var**2, 1e-300)
            told = shift**2 / (var * var_s) > TELLING / n
            told_too = stretched**2 / (spread * var_s) > TELLING / n
            self.laws[name] = (z + self.about[name], np.where(told, shift, 0.0),
                               np.where(told_too, 0.5 * stretched / var, 0.0))  # fmt: skip

    def at(self, draws: Mapping[str, Any], off: Array) -> tuple[dict[str, Any], Array]:
        """The draws where the parameters are `off` from where these were made, and log |db(t) / db| of each part."""
        out, stretched = dict(draws), np.zeros(self.parts)
        if not off.any():
            return out, stretched
        for n, (centre, shift, scale) in self.laws.items():
            domain, bounds = self.domains[n], self.bounds[n]
            free = self._free(n, draws[n])
            more = np.tensordot(off, scale, 1)
            moved = centre + np.exp(more) * (free - centre) + np.tensordot(off, shift, 1)
            out[n] = np.ascontiguousarray(from_free(moved, domain, bounds, np.shape(moved)))
            log = more + np.log(np.abs(stretch(out[n], domain, bounds)[0] / stretch(draws[n], domain, bounds)[0]))
            stretched += log.reshape(-1, self.parts).sum(0)
        return out, stretched
