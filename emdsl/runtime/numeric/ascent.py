"""Newton's method for several parameters whose Hessian is added up over the data, in blocks that stand apart."""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype are Any to mypy)

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.numeric.numerics import Degenerate
from emdsl.runtime.numeric.quasi import REACH, WIDE, maximise
from emdsl.runtime.numeric.unconstrained import bent, from_free, pullback, stretch, tangent, to_free, uphill

PROBES = 3  # how often Newton may go on from beyond a flat place
CRAWLS = 8  # steps of Newton's method after which numbers are taken as they are, too, where coordinates are their logs
MOST_PROBED = 20  # blocks side by side of which each is looked at for these
STRIDE = 100.0  # how far one step may go at least, in such errors of numbers on their own scale
STRIDES = (0.1, 0.2, 1.0, 4.0, 16.0)  # how far that is looked for, in free coordinates
FLAT = 1e-4  # of the largest curvature: less is hardly any
TOGETHER = 2e-14  # of it: less is none, Q is the same all along (numbers that are known only together)
AFIELD = 1e6  # times how far a number may go in one step: the others do not wait for it
GONE = 1e-16  # the most that a number adds to Q however far it steps, alone or with others, of which nothing is left
NOISE = 1e-14  # of the sum of the terms' sizes: what rounding leaves of Q
HIDDEN = 1e-6  # of 1 + |Q|: a step to where rounding is more than that has to rise by more than the rounding
LOST = 1e-3  # of 1 + |Q|: rounding that is more leaves nothing to climb by
OVERFLOWN = 1e300  # a curvature that is no number any more
SHORT = 1e-11  # of 1 + |Q|: a halved step that rises by less is the last
PROMISED = 0.25  # of what the slope promises: where Q is a parabola it is half
VECTORS = ("ordered", "zero_sum", "simplex")  # domains whose numbers are moved together
BROADEST = 300  # numbers in one block: above it a Hessian costs more than it saves, and gradients alone are used


def ascend(
    objective: Callable[[dict[str, Array]], tuple[Sequence[float], Mapping[str, Array], Any]],
    start: Mapping[str, Array],
    domains: Mapping[str, str],
    bounds: Mapping[str, tuple[float | None, float | None]],
    batch: Mapping[str, tuple[int, ...]],
) -> dict[str, Array]:
    """The maximum near `start` in unconstrained coordinates, by Newton with step-halving; never below the start.

    `objective(values)` gives the value term by term, the gradients by name and the Hessian: its upper triangle by
    pairs of names, each over the batch axes, then those of either (or a pair: the diagonal, and what every entry has).
    `batch` has the positions of each parameter's batch axes; along these the Hessian is zero off the diagonal. Raises
    Degenerate where Q rises to where its terms are so large that rounding leaves nothing of it.
    """
    layout = FreeTable(start, domains, bounds, batch)
    if layout.width > BROADEST and not layout.is_low(objective, start):
        return maximise(lambda values: (sum(objective(values)[0]), objective(values)[1]), start, domains, bounds)
    t, place = climbed(layout, objective, layout.free(start))
    if np.isnan(place[0]):
        told = f"the expected log joint is no number at the last {', '.join(start)}: its terms have overflowed"
        raise Degenerate(list(start), told)
    for _ in range(PROBES if isinstance(place[2], np.ndarray) and layout.rows <= MOST_PROBED else 0):
        further = beyond_flat(layout, objective, t, place)
        if further is None:
            break
        t, place = climbed(layout, objective, further)
    return dict(start) if not np.isfinite(place[0]) else layout.values(t)


def climbed(layout: FreeTable, objective: Callable[..., Any], t: Array) -> tuple[Array, tuple[Any, ...]]:
    """Newton with step-halving from these free coordinates: where it ends, and what `FreeTable.at` last told."""
    here = value, gradient, hessian, size, sound = layout.at(objective, t)
    first, far = t, np.maximum(REACH * (1 + np.abs(t).max(initial=0.0)), WIDE * layout.errors(hessian))
    if not np.isfinite(value):
        return t, here
    for number in range(100):
        reach = np.maximum(layout.reach(t), STRIDE * layout.errors(hessian))
        step = (
            low_step(gradient, hessian, reach) if isinstance(hessian, tuple) else newton_steps(gradient, hessian, reach)
        )
        new = np.clip(t + step, first - far, first + far)
        gain = float((gradient * (new - t)).sum())
        noise = NOISE * size
        if gain <= max(1e-12 * (1 + abs(value)), noise):  # the next step would be this one's square
            near = (np.abs(new - t) <= 1e-3 * (1 + np.abs(t))).all()
            if rounded_away(value, noise, gradient, hessian, t):
                raise unbounded(layout, t, first)
            if near:
                return new, here
            # a curvature that is rounding leads anywhere
            there = tried(layout, objective, new) if gain > noise else here
            return (new, there) if gain > noise and there[0] >= value else (t, here)
        straight = layout.straight(t, gradient, hessian, reach, positive=number >= CRAWLS)
        if straight is not None and (np.abs(straight - first) <= far).all():
            there = layout.at(objective, straight)
            if there[4] and there[0] - value >= max(PROMISED * gain, noise):
                t, here = straight, there
                value, gradient, hessian, size, sound = here
                continue
        fine = gain <= max(1e-10 * (1 + abs(value)), 10 * noise)  # the value cannot tell
        whole = new
        for _ in range(60):
            there = tried(layout, objective, new, kept=False)
            hidden = NOISE * there[3] > max(HIDDEN * (1 + abs(value)), there[0] - value)
            if np.isfinite(there[0]) and (there[0] >= value or fine) and (there[4] or not sound) and not hidden:
                break
            new, fine = (t + new) / 2, False
        else:
            if rounded_away(value, noise, gradient, hessian, t):
                raise unbounded(layout, t, first)
            break
        if isinstance(there[2], np.ndarray) and not np.isfinite(there[2]).all():
            there = layout.at(objective, new)
        if new is not whole and there[0] - value <= max(SHORT * (1 + abs(value)), noise):
            if rounded_away(value, noise, gradient, hessian, t):
                raise unbounded(layout, t, first)
            return new, there  # the slope is rounding (of 1 - p, p next to 1), or Q a wall: steps along it lead nowhere
        t, here = new, there
        value, gradient, hessian, size, sound = here
    return t, here


def tried(layout: FreeTable, objective: Callable[..., Any], t: Array, kept: bool = True) -> tuple[Any, ...]:
    """What `FreeTable.at` tells of a step; no density where free entries of a matrix leave it no covariance."""
    try:
        return layout.at(objective, t, kept)
    except Degenerate:
        return -np.inf, np.zeros_like(t), np.zeros((*t.shape, layout.width)), 0.0, False


def rounded_away(value: Any, noise: Any, gradient: Array, hessian: Any, t: Array) -> bool:
    """Whether rounding, of Q's terms or of the coordinates themselves, leaves nothing to climb by: their last digits
    move Q by its slope, and at a point that is fitted exactly, where it has none, by its curvature."""
    last = np.spacing(np.abs(t))
    bend = np.abs(np.diagonal(hessian, axis1=-2, axis2=-1)) if isinstance(hessian, np.ndarray) else np.zeros_like(t)
    bend = np.where(bend < OVERFLOWN, bend, 0.0)
    coarse = float(((np.abs(gradient) + 0.5 * bend * last) * last).sum())
    return bool(max(noise / LOST, coarse / HIDDEN) > 1 + abs(value))


def unbounded(layout: FreeTable, t: Array, first: Array) -> Degenerate:
    """What is said where Q climbs until rounding hides it, at no maximum: the parameters that went furthest."""
    went = {n: float(np.abs(t[:, cut] - first[:, cut]).max(initial=0.0)) for n, cut in layout.cuts.items()}
    names = sorted(went, key=lambda n: -went[n])[:1]
    told = (
        f"{', '.join(names)} goes to where the expected log joint still rises, and is rounding alone: a scale collapses"
    )
    return Degenerate(names, told)


def beyond_flat(layout: FreeTable, objective: Callable[..., Any], t: Array, place: tuple[Any, ...]) -> Array | None:
    """A clearly higher place along a direction in which Q neither rises nor bends here; None where there is none.

    Such a place may be an inflection (a skew normal's slant 0, whatever the data) or a plain far from the maximum.
    """
    for row, (bend, errors) in enumerate(zip(place[2], layout.errors(place[2]), strict=True)):
        unit = np.where(errors > 0, 10 * errors, 1.0)  # in numbers on their own scale a step is ten of their errors
        spectrum, vectors = np.linalg.eigh(bend * unit[:, None] * unit)
        share = np.abs(spectrum) / max(np.abs(spectrum).max(initial=0.0), 1e-300)
        least = TOGETHER if layout.rows > 1 else -1.0  # of many blocks not what is known only together
        for k in np.flatnonzero((share < FLAT) & (share > least))[:3]:
            direction = vectors[:, k] / np.abs(vectors[:, k]).max() * unit
            strides = STRIDES if share[k] > TOGETHER else STRIDES[-1:]  # numbers that are known only together: no use
            starts = np.repeat(t[None], 2 * len(strides), axis=0)
            starts[:, row] += [sign * h * direction for h in strides for sign in (1, -1)]
            places = [tried(layout, objective, start) for start in starts]
            found = np.nan_to_num([p[0] - 1e-13 * p[3] for p in places], nan=-np.inf)  # less what rounding may feign
            if found.max() > place[0] + 1e-3 + 1e-9 * abs(place[0]):
                return starts[int(np.argmax(found))]
    return None


class FreeTable:
    """Where each parameter's numbers stand in a table of free coordinates, one row for each element of the batch."""

    def __init__(
        self,
        start: Mapping[str, Array],
        domains: Mapping[str, str],
        bounds: Mapping[str, tuple[float | None, float | None]],
        batch: Mapping[str, tuple[int, ...]],
    ) -> None:
        self.domains, self.bounds, self.shapes, self.order = domains, bounds, {}, {}
        self.cuts: dict[str, slice] = {}
        self.width = 0
        for n, value in start.items():
            shape = np.shape(value)
            self.order[n] = (*batch[n], *(d for d in range(len(shape)) if d not in batch[n]))
            self.shapes[n] = tuple(shape[d] for d in self.order[n])
            own = int(np.prod(self.shapes[n][len(batch[n]) :]))
            own -= own // shape[-1] if domains[n] in ("zero_sum", "simplex") else 0  # the last of each vector follows
            self.cuts[n] = slice(self.width, self.width + own)
            self.rows = int(np.prod(self.shapes[n][: len(batch[n])]))
            self.width += own

    def _rows(self, n: str, part: Any) -> Array:
        return np.transpose(part, self.order[n]).reshape(self.rows, -1)

    def _table(self, parts: Mapping[str, Any]) -> Array:
        return np.concatenate([self._rows(n, parts[n]) for n in self.order], axis=-1)

    def free(self, values: Mapping[str, Array]) -> Array:
        """Free coordinates of parameters: (batch, width)."""
        return self._table({n: to_free(values[n], self.domains[n], self.bounds[n]) for n in self.order})

    def values(self, t: Array) -> dict[str, Array]:
        """The inverse of `free`."""
        out = {}
        for n, order in self.order.items():
            shape = (*self.shapes[n][:-1], -1) if self.domains[n] in VECTORS else self.shapes[n]
            part = t[:, self.cuts[n]].reshape(shape).transpose(np.argsort(order))
            out[n] = from_free(part, self.domains[n], self.bounds[n], part.shape)
        return out

    def is_plain(self) -> Array:
        """Which columns are numbers on their own scale, (width,): others are logarithms and the like."""
        out = np.zeros(self.width, bool)
        for n, cut in self.cuts.items():
            out[cut] = self.domains[n] in ("real", "zero_sum")
            if self.domains[n] == "ordered":  # the others are logarithms of distances
                out[cut.start : cut.stop : self.shapes[n][-1]] = True
        return out

    def reach(self, t: Array) -> Array:
        """How far one step may go, (batch, 1): on the scale of the numbers, or 4 where they are logarithms alone."""
        return 4.0 * (1 + np.abs(t[:, self.is_plain()]).max(-1, keepdims=True, initial=0.0))

    def errors(self, hessian: Any) -> Array:
        """Of numbers on their own scale, 1 / sqrt(curvature), whatever that scale is; 0 elsewhere: (batch, width)."""
        if isinstance(hessian, tuple):
            return np.zeros_like(hessian[0])
        sharp = np.maximum(-np.diagonal(hessian, axis1=-2, axis2=-1), 0.0)
        return np.where(self.is_plain() & (sharp > 0), 1 / np.sqrt(np.where(sharp > 0, sharp, 1.0)), 0.0)

    def is_low(self, objective: Callable[..., Any], start: Mapping[str, Array]) -> bool:
        """Whether the Hessian is a diagonal plus rank one, which no width makes dear."""
        with np.errstate(all="ignore"):
            return isinstance(objective(dict(start))[2], tuple)

    def _slopes(self, values: Mapping[str, Array], slopes: Mapping[str, Array]) -> tuple[dict[str, Array], bool]:
        """The gradient by free coordinates, parameter by parameter, and whether that by the numbers is finite."""
        whole = {n: np.broadcast_to(slopes[n], np.shape(values[n])) for n in self.order}
        none = np.empty(0)  # free coordinates, which only those of matrices are taken from
        back = {n: pullback(none, whole[n], self.domains[n], self.bounds[n], values[n]) for n in self.order}
        return back, all(bool(np.isfinite(s).all()) for s in whole.values())

    def _bends(self, values: Mapping[str, Array], slopes: Mapping[str, Array], back: Mapping[str, Array]) -> Array:
        """What the Hessian has of slopes, where numbers bend in free coordinates: (batch, width, width)."""
        out = np.zeros((self.rows, self.width, self.width))
        for n, cut in self.cuts.items():
            at = np.arange(cut.start, cut.stop)
            if self.domains[n] not in VECTORS:
                second = stretch(values[n], self.domains[n], self.bounds[n])[1]
                out[:, at, at] = self._rows(n, slopes[n] * second)
                continue
            blocks = bent(self._vectors(n, values[n]), self._vectors(n, back[n]), self.domains[n])
            at = at.reshape(blocks.shape[1:3])
            out[:, at[:, :, None], at[:, None, :]] = blocks
        return np.nan_to_num(out)

    def _vectors(self, n: str, part: Array) -> Array:
        """A parameter whose numbers are moved together: (batch, vectors, numbers)."""
        return self._rows(n, part).reshape(self.rows, -1, part.shape[-1])

    def _inward(self, block: Array, n: str, value: Array) -> Array:
        """What stands along the numbers of a parameter, (batch, numbers, any), along its free coordinates."""
        if self.domains[n] not in VECTORS:
            return block * self._rows(n, stretch(value, self.domains[n], self.bounds[n])[0])[:, :, None]
        along = tangent(self._vectors(n, value), self.domains[n])
        parts = block.reshape(*along.shape[:3], -1)
        return (np.swapaxes(along, -1, -2) @ parts).reshape(self.rows, -1, block.shape[-1])

    def at(self, objective: Callable[..., Any], t: Array, kept: bool = True) -> tuple[float, Array, Any, float, bool]:
        """Value, gradient (batch, width), Hessian (batch, width, width) by free coordinates, the sum of |terms|, and
        whether the gradient is finite. Where the point may not be `kept`, the Hessian may not be finite, either."""
        values = self.values(t)
        with np.errstate(all="ignore"):
            terms, slopes, parts = objective(values)
            value, size = float(sum(terms)), float(sum(map(abs, terms)))
            back, sound = self._slopes(values, slopes)
            gradient = np.nan_to_num(self._table(back))
            if isinstance(parts, tuple):
                (n,) = self.order
                first, second = (self._rows(n, s) for s in stretch(values[n], self.domains[n], self.bounds[n]))
                bend = np.nan_to_num(self._rows(n, np.broadcast_to(slopes[n], np.shape(values[n]))) * second)
                diagonal = np.broadcast_to(parts[0], next(iter(self.shapes.values()))).reshape(t.shape)
                rank = np.broadcast_to(parts[1], next(iter(self.shapes.values()))[:-1]).reshape(self.rows)
                return value, gradient, (diagonal * first**2 + bend, first, rank), size, sound
            hessian = np.zeros((*t.shape, self.width))
            for (a, b), part in parts.items():
                block = np.reshape(part, (self.rows, values[a].size // self.rows, -1))
                block = self._inward(self._inward(block, a, values[a]).swapaxes(-1, -2), b, values[b])
                hessian[:, self.cuts[b], self.cuts[a]] = block
                hessian[:, self.cuts[a], self.cuts[b]] = block.swapaxes(-1, -2)
            hessian += self._bends(values, slopes, back)
            if not kept:
                return value, gradient, hessian, size, sound
            if sound and np.isfinite(value) and not np.isfinite(hessian).all():
                hessian = self._by_differences(objective, t)
        return value, gradient, np.nan_to_num(hessian), size, sound

    def straight(self, t: Array, gradient: Array, hessian: Any, reach: Array, positive: bool) -> Array | None:
        """Where Newton's step leads by numbers in order as they are, and positive ones where asked; None where there
        are none, or it leaves their domains.

        Of logs of their distances Q is no parabola: where one of them goes far and the others stay, a ridge is bent.
        """
        ordered = [n for n in self.order if self.domains[n] == "ordered"]
        above = [n for n in self.order if positive and self.domains[n] == "positive"]
        if not (ordered or above) or not isinstance(hessian, np.ndarray):
            return None
        values, plain = self.values(t), hessian.copy()
        vectors = {n: self._vectors(n, values[n]) for n in ordered}
        for n, v in vectors.items():
            at = np.arange(self.cuts[n].start, self.cuts[n].stop).reshape(v.shape[1:])
            plain[:, at[:, :, None], at[:, None, :]] -= bent(v, gradient[:, at], "ordered")
        for n in above:  # d2 exp(u) = d exp(u)
            at = np.arange(self.cuts[n].start, self.cuts[n].stop)
            plain[:, at, at] -= gradient[:, at]
        step = newton_steps(gradient, plain, reach)
        new = t + step
        for n in above:
            if not (step[:, self.cuts[n]] > -1).all():
                return None
            new[:, self.cuts[n]] = t[:, self.cuts[n]] + np.log1p(step[:, self.cuts[n]])
        for n, v in vectors.items():
            moved = v + (tangent(v, "ordered") @ step[:, self.cuts[n]].reshape(v.shape)[..., None])[..., 0]
            if not (np.diff(moved) > 0).all():
                return None
            new[:, self.cuts[n]] = to_free(moved, "ordered", (None, None)).reshape(self.rows, -1)
        return new

    def _by_differences(self, objective: Callable[..., Any], t: Array) -> Array:
        """The Hessian by differences of slopes, where a power in it overflows that cancels in these."""

        def gradient(at: Array) -> Array:
            values = self.values(at)
            return self._table(self._slopes(values, objective(values)[1])[0])

        out = np.empty((*t.shape, self.width))
        for k in range(self.width):
            step = 1e-5 * (1 + np.abs(t[:, k])) * np.eye(self.width)[:, [k]]
            out[:, :, k] = (gradient(t + step.T) - gradient(t - step.T)) / (2 * step.sum(0)[:, None])
        return 0.5 * (out + out.swapaxes(-1, -2))


def newton_steps(gradient: Array, hessian: Array, reach: Array) -> Array:
    """Newton's steps: (batch, n), (batch, n, n) -> (batch, n). By Cholesky where that is safe, else by eigenvalues.

    What would go very far (the log of a distance that is next to 0) goes as far as it may, and the others where they go
    without it: shortened together, these would stand still.
    """
    step = _whole_steps(gradient, hessian, reach)
    far = np.abs(step) > AFIELD * reach
    if far.any():
        apart = np.where(far[..., :, None] | far[..., None, :], -np.eye(step.shape[-1]), hessian)
        step = np.where(far, np.sign(step) * reach, _whole_steps(np.where(far, 0.0, gradient), apart, reach))
    return within(step, reach)


def _whole_steps(gradient: Array, hessian: Array, reach: Array) -> Array:
    """Newton's steps, however far they lead.

    Directions in which Q is flat (parameters that are known only together) are left alone, and numbers so far out that
    nothing is left of their slope and curvature.
    """
    diagonal = -np.diagonal(hessian, axis1=-2, axis2=-1)
    scale = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    scaled = hessian * scale[..., :, None] * scale[..., None, :]
    try:
        safe = (diagonal > 0).all() and np.linalg.cholesky(-scaled).diagonal(0, -2, -1).min() ** 2 > 1e-10
    except np.linalg.LinAlgError:
        safe = False
    if safe:
        step = np.linalg.solve(-scaled, (gradient * scale)[..., None])[..., 0] * scale
    else:
        gone = (diagonal > 0) & (diagonal * reach**2 < GONE**2) & (np.abs(gradient) * reach < GONE)
        scale = np.where(gone, 0.0, scale)  # its square root would make rounding of eigenvectors longer than any step
        scaled = hessian * scale[..., :, None] * scale[..., None, :]
        step = uphill(gradient * scale, scaled, np.full_like(reach[:, :1], np.inf), flat=TOGETHER) * scale
    return step


def within(step: Array, reach: Array) -> Array:
    """A step, shortened where one of its numbers would go further than it may: both (batch, n)."""
    return step / np.maximum((np.abs(step) / reach).max(-1, keepdims=True), 1.0)


def low_step(gradient: Array, hessian: tuple[Array, Array, Array], reach: Array) -> Array:
    """The step -(diag(d) + c u u')^-1 g by Sherman and Morrison (Minka 2000, "Estimating a Dirichlet distribution").

    Where that matrix is not negative definite: g / |d|, which leads upwards.
    """
    diagonal, u, c = hessian
    d = np.where(diagonal < 0, diagonal, np.nan)
    plain, along = gradient / d, u / d
    below = 1 + c * (u * along).sum(-1)  # the determinant's ratio: negative definite where d < 0 and this is > 0
    full = -(plain - along * (c * (u * plain).sum(-1) / below)[..., None])
    good = np.isfinite(full).all(-1) & (below > 0)
    safe = gradient / np.maximum(np.abs(diagonal), 1e-12 * np.abs(diagonal).max(-1, keepdims=True) + 1e-300)
    return within(np.where(good[..., None], full, safe), reach)
