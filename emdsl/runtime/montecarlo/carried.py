"""Draws that move with the parameters, as posterior means and spreads do: less of their information is missing then.

A draw b, in free coordinates, is b(t) = m + exp(D d) (b - m) + C d at parameters t = t0 + d. For any fixed m, C and D,
log p(data, b(t) | t) + log |db(t) / db| is a log density of complete data with the same likelihood of t, so that
Louis's and Fisher's identities hold for it. With C = Cov[b, s] and D = Cov[(b - m)^2, s] / (2 Var[b]), s the score of
the part that b is in, d E[b] / dt = C and d Var[b] / dt = 2 D Var[b]: of a nearly Gaussian posterior all is carried.

A map must not take a draw over a jump of its density: latents that data compare with something (a sign, a limit) stay.

Where many numbers are in one part, covariances of each are noise. There C and D are combinations of a few fields (all
alike shifted, all stretched, and those noisy covariances), by regression of scores on the slopes along the fields:
interweaving two parameterisations (Yu and Meng 2011), or control variates made of slopes (Mira et al. 2013).
"""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.fitting.climbs import Setup
from emdsl.runtime.montecarlo.sampler import exact_names
from emdsl.runtime.numeric.unconstrained import from_free, stretch, to_free

TELLING = 12.0  # a covariance whose squared correlation is below this over the number of draws is taken for noise
MOST_FIELDS = 60  # made of covariances with scores: no more than draws that tell how they are combined
MOST_TOGETHER_CARRIED = 5  # numbers of one part, for each of which covariances are learnt from some hundred draws


class Carried:
    """What of the draws moves, and how: learnt from `seen` draws and scores, then fixed."""

    def __init__(self, setup: Setup, draws: Mapping[str, Any], parts: int) -> None:
        entries = {v["name"]: v for v in setup.module.SPEC["variables"] if v["name"] in draws}
        self.parts, self.count = parts, 0
        self.bounds: dict[str, tuple[Any, Any]] = {}
        self.domains: dict[str, str] = {}
        groups = setup.module.groups()
        staying = {n for g in groups for n in g.cut} | exact_names(groups)  # what is exact is in no density of draws
        for n, v in entries.items():
            plain = all(b is None or isinstance(b, int | float) for b in (v["lower"], v["upper"]))
            continuous = np.issubdtype(np.asarray(draws[n]).dtype, np.floating)
            if v["domain"] in ("real", "positive", "unit") and plain and continuous and n not in staying:
                self.domains[n], self.bounds[n] = v["domain"], (v["lower"], v["upper"])
        self.together = sum(np.size(draws[n]) for n in self.domains) > MOST_TOGETHER_CARRIED * parts
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

    def spread_of_scores(self) -> Any:
        """The standard deviation of the whole score that was seen, (p,)."""
        mean, square = (v / max(1, self.count) for v in self.score)
        return np.sqrt(np.maximum(np.sum(square - mean**2, -1), 0.0)) if self.count else 0.0

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

    def fields_held(self) -> int:
        """The number of those laws."""
        return len(next(iter(self.laws.values()))[1]) if self.laws else 0

    def fields(self) -> int:
        """Laws along which all numbers move, in place of those along parameters; their number."""
        n, some = float(max(1, self.count)), min(len(self.score[0]), MOST_FIELDS)
        each = some + 3
        found = {}
        for k, (name, sums) in enumerate(self.sums.items()):
            z, z2, zs = sums[0] / n, sums[1] / n, sums[4] / n
            mean_s = self.score[0] / n
            s = mean_s.reshape(len(mean_s), *(1,) * (z.ndim - 1), -1) if z.ndim else mean_s[:, 0]
            shift, scale = (np.zeros((each * len(self.sums), *z.shape)) for _ in range(2))
            spread = float(np.sqrt(np.mean(np.maximum(z2 - z**2, 1e-300))))
            shift[each * k], scale[each * k + 1] = spread, 1.0
            shift[each * k + 2] = z + self.about[name] - np.mean(z + self.about[name])
            noisy = zs - z * s
            size = np.sqrt(np.square(noisy).mean(tuple(range(1, noisy.ndim)), keepdims=True))
            shift[each * k + 3 : each * (k + 1)] = (spread * noisy / np.maximum(size, 1e-300))[:some]
            found[name] = (z + self.about[name], shift, scale)
        self.laws = found
        return each * len(self.sums)

    def combine(self, scores: Array, slopes: Array) -> None:
        """Laws along parameters from those along fields: scores (n, p) regressed on slopes along the fields (n, f)."""
        s, g = scores - scores.mean(0), slopes - slopes.mean(0)
        weights = -np.linalg.lstsq(g, s, rcond=1e-6)[0].T
        self.laws = {
            n: (centre, np.tensordot(weights, shift, 1), np.tensordot(weights, scale, 1))
            for n, (centre, shift, scale) in self.laws.items()
        }

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
            out[n] = np.asarray(from_free(moved, domain, bounds, np.shape(moved)), order="C")
            log = more + np.log(np.abs(stretch(out[n], domain, bounds)[0] / stretch(draws[n], domain, bounds)[0]))
            stretched += log.reshape(-1, self.parts).sum(0)
        return out, stretched
