"""Points for latents that no family closes: Gauss-Hermite at each element's mode, with its curvature.

    log integral f(u) du  ~  logsumexp over q of [ log f(u_q) + x_q^2 + log w_q + log |sqrt(2) L| ],
    u_q = mode + sqrt(2) L x_q,     L L' = inverse of minus the Hessian of log f at the mode

(Liu and Pierce 1994, Biometrika 81, 624-629; Pinheiro and Bates 1995, JCGS 4, 12-35.) All elements of a plate are
handled side by side: axes are dimensions, points, plates. u are unconstrained coordinates; the Jacobian is in log f.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.numeric.intervals import Coordinate, exchanged, jacobian_slopes, no_length, to_values
from emdsl.runtime.numeric.numerics import LOWEST
from emdsl.runtime.numeric.points import WIDEST_SINH, Rule

LogJoint = Callable[..., Any]  # values (D, Q, *plates), slopes: bool -> log density (Q, *plates), or with its slopes

NEWTON = 50  # steps at most
HALVINGS = 20  # of one step
LONGEST = 64.0  # a step that was halved four times and is still too long
RESTARTS_OF_MODES = 4  # where a point lies higher than the mode that was found
MOVES = 6  # of points, by moments
NOTHING_BESIDE = 50.0  # of a logarithm: what is so much less than the largest is 2e-22 of it
OF_SQUARES = 20.0  # the same of squares: 2e-9 of a variance
FURTHEST = 22.5  # of v: sinh of it is 3e9, and a variance of which more lies beyond has four digits without it
NOTHING_LEFT = -700.0  # a log weight beside the largest of which nothing is left
OUT_OF_SIGHT = 100.0  # times as far from the mode as its mass reaches: nodes are too sparse there for another mode
NEAR_MODE = 1e-6  # a decrement from which on slopes alone tell where the mode is, and values may fall by so much
ABSURD = 1e6  # times what a step promises: the rounding of terms that cancel far out
AT_MODE = 1e-12  # Newton decrement at which a mode is found: a millionth of the curvature's own scale


def log_sum(table: Array, axes: tuple[int, ...]) -> Array:
    """log of the sum of exponentials over some axes."""
    top = np.max(table, axis=axes, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.sum(np.exp(table - top), axis=axes)) + np.squeeze(top, axis=axes))


def softmax_over(table: Array, axes: tuple[int, ...]) -> Array:
    """Exponentials that sum to 1 over some axes."""
    top = np.max(table, axis=axes, keepdims=True)
    weights = np.exp(table - np.where(np.isfinite(top), top, 0.0))
    total = np.sum(weights, axis=axes, keepdims=True)
    return np.asarray(weights / np.where(total > 0, total, 1.0))


# ------------------------------------------------------------------ coordinates


def in_coordinates(log_joint: LogJoint, bounds: Sequence[Coordinate]) -> LogJoint:
    """The log density of unconstrained coordinates, the Jacobian counted; with its slopes on request.

    Where an exponential overflows there is no density: with a row whose data are missing it is 0 times infinity.
    """
    free = not any(low is not None or high is not None for low, high in bounds)

    def density(u: Array, slopes: bool = False) -> Any:
        values, log_volume = (u, 0.0) if free else to_values(u, bounds)
        if not slopes:
            return _none(log_joint(values) + log_volume)
        value, slope, curvature = log_joint(values, slopes=True)
        if free:
            return _none(value), slope, curvature
        first, second, log_first, log_second = jacobian_slopes(u, bounds)
        curvature = curvature * first[:, None] * first[None, :]
        for d in range(len(bounds)):
            curvature[d, d] += slope[d] * second[d] + log_second[d]
        return _none(value + log_volume), slope * first + log_first, curvature

    return density


def _none(value: Array) -> Array:
    return np.where(np.isnan(value), LOWEST, value)


def differences(log_joint: LogJoint, at: Array) -> tuple[Array, Array, Array]:
    """Value, slopes and curvature by central differences, where they are not written out."""
    step = 1e-4 * (1 + np.abs(at))
    size = at.shape[0]
    value = log_joint(at)
    slope, curvature = np.empty(at.shape), np.empty((size, *at.shape))

    def moved(*by: tuple[int, int]) -> Array:
        there = at.copy()
        for d, sign in by:
            there[d] += sign * step[d]
        return np.asarray(log_joint(there))

    for d in range(size):
        up, down = moved((d, 1)), moved((d, -1))
        slope[d] = (up - down) / (2 * step[d])
        curvature[d, d] = (up - 2 * value + down) / step[d] ** 2
        for e in range(d):
            cross = moved((d, 1), (e, 1)) - moved((d, 1), (e, -1)) - moved((d, -1), (e, 1)) + moved((d, -1), (e, -1))
            curvature[d, e] = curvature[e, d] = cross / (4 * step[d] * step[e])
    return value, slope, curvature


# ------------------------------------------------------------------ modes


def _elements_first(a: Array, lead: int) -> Array:
    """Leading axes moved to the end, for linear algebra on each element."""
    return np.moveaxis(a, range(lead), range(-lead, 0))


def positive_part(curvature: Array) -> Array:
    """Minus the Hessian (D, D, ...), made positive definite where it is not: eigenvalues turned, and kept from 0."""
    if curvature.shape[0] == 1:
        size = np.abs(curvature)
        return np.where(np.isfinite(size) & (size > 1e-300), size, 1.0)
    h = _elements_first(-curvature, 2)
    h = np.where(np.isfinite(h).all(axis=(-1, -2), keepdims=True), h, np.eye(h.shape[-1]))
    values, vectors = np.linalg.eigh(h)
    values = np.abs(values)
    values = np.maximum(values, 1e-12 * values.max(axis=-1, keepdims=True))
    values = np.where(values > 1e-300, values, 1.0)
    turned = (vectors * values[..., None, :]) @ np.swapaxes(vectors, -1, -2)
    return np.moveaxis(turned, (-2, -1), (0, 1))


def _newton_step(slope: Array, curvature: Array) -> Array:
    """Newton's step on a concave model of the density."""
    h = positive_part(curvature)
    if h.shape[0] == 1:
        return np.asarray(slope / h[0])
    step = np.linalg.solve(_elements_first(h, 2), _elements_first(slope, 1)[..., None])[..., 0]
    return np.moveaxis(step, -1, 0)


def find_modes(density: LogJoint, start: Array) -> tuple[Array, Array]:
    """The mode of each element, (D, 1, *plates) as the start, and the Hessian there; Newton with halving.

    It starts from 0 where the density is higher there: a start is the last mode, at parameters that may be far away.
    Slopes may not be quite those of the values: they hold the points of what lies inside still, or are differences. A
    thousandth of a width from the top the mode is where these vanish.
    """
    u = start
    value, slope, curvature = density(u, slopes=True)
    lost = ~np.isfinite(value)
    if u.any():
        lost |= density(np.zeros_like(u)) > value
    if lost.any():
        u = np.where(lost, 0.0, u)
        value, slope, curvature = density(u, slopes=True)
    stuck = np.zeros(value.shape, bool)  # at a kink, or at the last digit of the density
    for _ in range(NEWTON):
        step = np.nan_to_num(_newton_step(slope, curvature), nan=0.0, posinf=0.0, neginf=0.0)
        gain = np.sum(slope * step, axis=0)
        moving = (gain > AT_MODE) & ~stuck
        if not moving.any():
            break
        share = np.where(moving, 1.0, 0.0)
        for n in range(HALVINGS):
            if n == HALVINGS // 5:  # where a tail is straight, a step may be any number of digits too long
                length = np.sqrt(np.sum((share * step) ** 2, axis=0))
                share = np.where(length > LONGEST, share * LONGEST / np.where(length > 0, length, 1.0), share)
            there = u + share * step
            after = density(there, slopes=True)
            blur = 1e-13 * (1 + np.abs(value))
            enough = value + np.where(gain < NEAR_MODE, -NEAR_MODE, 1e-4 * share * gain) - blur
            absurd = after[0] > value + ABSURD * (1 + np.abs(value) + gain)
            worse = moving & (~(after[0] >= enough) | absurd)
            if not worse.any():
                break
            share = np.where(worse, share / 2, share)
        else:
            stuck |= worse
            there = np.where(worse, u, there)
            after = density(there, slopes=True)
        stuck |= (share < 1) & ~(after[0] > value + blur)
        u, (value, slope, curvature) = there, after
    return u, curvature


# ------------------------------------------------------------------ points


def spread_out(u: Array, root: Array, rule: Rule) -> tuple[Array, Array]:
    """Points mode + sqrt(2) L x (D, Q, *plates) and log volumes (Q, *plates), for L (D, D, *plates)."""
    x, log_weight = rule.at, rule.log_volume
    size, plates = len(x), u.ndim - 2
    moved = np.tensordot(np.sqrt(2) * np.moveaxis(root, 1, -1), x, 1)  # (D, *plates, Q)
    points = u + np.moveaxis(moved, -1, 1)
    volume = log_weight.reshape(-1, *[1] * plates) + log_det(root) + size / 2 * np.log(2)
    return points, volume


def log_det(root: Array) -> Array:
    """log |L| of each element."""
    if len(root) == 1:
        return np.asarray(np.log(np.abs(root[0, 0])))
    return np.asarray(np.log(np.abs(root[0, 0] * root[1, 1] - root[0, 1] * root[1, 0])))


def root_of(precision: Array) -> Array:
    """L with L L' the inverse of a precision (D, D, *plates)."""
    if precision.shape[0] == 1:
        return 1 / np.sqrt(precision)
    low = np.linalg.cholesky(_elements_first(precision, 2))
    inverse = np.linalg.inv(low)
    return np.moveaxis(np.swapaxes(inverse, -1, -2), (-2, -1), (0, 1))


def adapted(log_joint: LogJoint, bounds: Sequence[Coordinate], rule: Rule, start: Array) -> tuple[Array, Array, Array]:
    """Values at the points of an adapted rule (D, Q, *plates), the log volumes that they stand for (Q, *plates), and
    the log density there with its volume (Q, *plates), whose sum of exponentials over Q is the integral.

    log_joint : values (D, Q, *plates) -> log density (Q, *plates); with slopes=True the gradient (D, Q, *plates) and
    the Hessian (D, D, Q, *plates) too. start : where Newton starts, (D, *plates), overwritten by the modes found.
    Where a point lies higher than the mode found, Newton starts there again. Where the density at the points is more
    than twice as wide as the curvature says, or narrower (flat or several modes, a long tail), its own mean and
    covariance under the points place them (Naylor and Smith 1982, Applied Statistics 31, 214-225).
    """
    density = in_coordinates(log_joint, bounds)
    u, curvature = find_modes(density, start[:, None])
    for _ in range(RESTARTS_OF_MODES):
        root = root_of(positive_part(curvature[:, :, 0]))
        points, volume = spread_out(u, root, rule)
        table = in_sight(density(points), density(u), points, u, bounds)
        best = np.argmax(table, axis=0)[None]
        higher = np.take_along_axis(table, best, 0) > density(u) + 1e-6
        if not higher.any():
            break
        there = np.take_along_axis(points, best[None], 1)
        u, curvature = find_modes(density, np.where(higher, there, u))
    start[...] = np.where(np.isfinite(u[:, 0]), u[:, 0], 0.0)
    for _ in range(MOVES if rule.moves else 0):
        centre, spread, unlike = _by_moments(table + volume, volume, rule.at, u, root)
        if not unlike.any():
            break
        u, root = np.where(unlike, centre, u), np.where(unlike, spread, root)
        points, volume = spread_out(u, root, rule)
        table = in_sight(density(points), density(u), points, u, bounds)
    if rule.narrows:
        points, volume, table = narrowed(density, bounds, rule, u, root, (points, volume, table))
    values, log_volume = to_values(points, bounds)
    seen = no_length(bounds) if len(bounds) == 1 else None  # its points are one, and have its density together
    if seen is not None:
        volume = np.where(seen, -np.log(len(volume)), volume)
    if (lost := exchanged(bounds)).any():
        volume = np.where(lost, LOWEST, volume)
    return where_mass_is(values, volume + log_volume, table + volume)


def in_sight(table: Array, top: Array, points: Array, u: Array, bounds: Sequence[Coordinate]) -> Array:
    """The log density at the points of one number, with nothing where it is the rounding of terms that cancel.

    (x - a)^2 is opened where a latent was summed out; at 1e100 what is left of its terms is any number, or 0. So what
    rises again out there, behind a place where nothing was left, is none: nodes as sparse as that would see no mode.
    """
    if len(points) > 1:
        return table
    side, floor = points[0] > u[0], top + NOTHING_LEFT
    above = np.minimum.accumulate(np.where(side, table, np.inf), axis=0) < floor
    below = np.minimum.accumulate(np.where(side, np.inf, table)[::-1], axis=0)[::-1] < floor
    behind = above | below
    if not (behind & (table >= floor)).any():
        return table
    away = np.abs(to_values(points, bounds)[0][0] - to_values(u, bounds)[0][0])
    span = np.max(np.where(~behind & (table > top - NOTHING_BESIDE), away, 0.0), axis=0)
    return np.where(behind & (away > OUT_OF_SIGHT * span) & (span > 0), LOWEST, table)


def narrowed(
    density: LogJoint, bounds: Sequence[Coordinate], rule: Rule, u: Array, root: Array,
    placed: tuple[Array, Array, Array],
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Points, volumes and density with the same number of points between those beyond which nothing is left.

    The rule reaches so far that few of its points may lie where the density is; its error falls as exp(-c / distance),
    so that half the distance squares it (Trefethen and Weideman 2014, SIAM Review 56, 385-458). A variance may lie
    further out than the mass, and beyond the rule's ends: so far as its tail, straight there, has fallen off.
    """
    share = placed[2] + placed[1]
    top, size, plates = np.max(share, axis=0), len(rule.at), share.shape[1:]
    count = round(len(share) ** (1 / size))
    kept, last = (share > top - NOTHING_BESIDE).reshape(*[count] * size, *plates), count - 1
    values, _ = to_values(placed[0], bounds)
    squares = share + np.log1p(np.minimum(np.max(np.abs(values), axis=0), 1e150) ** 2)
    squares = squares.reshape(kept.shape)
    grids, volume = [], np.zeros((1,) * share.ndim)
    for d in range(size):
        others = tuple(e for e in range(size) if e != d)
        v = np.arcsinh(np.unique(rule.at[d]))
        some, own = kept.any(axis=others), squares.max(axis=others)
        some = some | ((own > own.max(axis=0) - OF_SQUARES) & _falls(own))
        low = v[np.maximum(np.argmax(some, axis=0) - 1, 0)] - _further(own[::-1], v[1] - v[0])
        high = v[np.minimum(last + 1 - np.argmax(some[::-1], axis=0), last)] + _further(own, v[1] - v[0])
        step = (high - low) / last
        nth = np.arange(len(share)) // count ** (size - 1 - d) % count
        grid = low + step * nth.reshape(-1, *[1] * low.ndim)
        grids.append(np.sinh(grid))
        volume = volume + np.log(np.cosh(grid)) + np.log(step)
    moved = np.stack(grids)
    points = u + np.sqrt(2) * np.sum(root[:, :, None] * moved[None], axis=1)
    volume = volume + log_det(root) + size / 2 * np.log(2)
    found = np.isfinite(top)
    made = (points, volume, density(points))
    points, volume, table = (np.where(found, new, old) for new, old in zip(made, placed, strict=True))
    return points, volume, table


def _falls(own: Array) -> Array:
    """Whether squares fall off at both ends: others have no variance."""
    return np.asarray((own[0] < own[1]) & (own[-1] < own[-2]))


def _further(own: Array, step: float) -> Array:
    """How far beyond the last of some even points squares (points, ...) fall off, by the slope they end with."""
    left, slope = own[-1] - own.max(axis=0) + OF_SQUARES, own[-2] - own[-1]
    wanted = _falls(own) & np.isfinite(own[-2:]).all(axis=0) & (left > 0)
    return np.where(wanted, np.minimum(step * left / np.where(wanted, slope, 1.0), FURTHEST - WIDEST_SINH), 0.0)


def where_mass_is(points: Array, volume: Array, table: Array) -> tuple[Array, Array, Array]:
    """The same with points of no share in the integral at the one of the largest, with no volume there.

    They may lie so far out that a function of them (the power of a number) is infinite, and 0 times infinity is none.
    """
    table = np.where(np.isnan(table), LOWEST, table)
    least = np.max(table, axis=0) + NOTHING_LEFT
    dust = table < least
    if not dust.any():
        return points, volume, table
    best = np.take_along_axis(points, np.argmax(table, axis=0)[None, None], 1)
    return np.where(dust, best, points), np.where(dust, LOWEST, volume), np.maximum(table, least)


def points_to_start(
    name: str, rule: Rule, bounds: Sequence[Coordinate], plates: tuple[int, ...],
    places: Mapping[str, tuple[Sequence[int], tuple[int, ...]]], rng: np.random.Generator,
) -> dict[str, Array]:  # fmt: skip
    """A factor of q at points to sweep from: a narrow Gaussian about 0 in free coordinates, each element a little off.

    places : of each latent its dimensions among those of the cloud, and of a vector the order in which the axes of
    (points, plates, own) are kept.
    """
    weight = np.exp(np.maximum(rule.log_volume - np.sum(rule.at**2, axis=0), NOTHING_LEFT))
    x, lead = np.where(weight > 1e-300, rule.at, 0.0), (1,) * len(plates)
    u = 0.1 * x.reshape(*x.shape, *lead) + 0.3 * rng.normal(size=(len(x), 1, *plates))
    values, _ = to_values(u, bounds)
    every = (x.shape[1], *plates)
    out = {
        f"q:{name}": np.broadcast_to((weight / weight.sum()).reshape(-1, *lead), every).copy(),
        f"volume:{name}": np.zeros(every),
    }
    for latent, (own, order) in places.items():
        at = values[own[0]] if not order else np.moveaxis(values[list(own)], 0, -1).transpose(order)
        out[f"at:{latent}"] = np.array(at)
    return out


def for_each(modes: Array, count: int) -> Array:
    """Modes (D, *plates) for each of so many points of a cloud around: (D, count, *plates)."""
    return np.repeat(modes[:, None], count, axis=1)


def _by_moments(log_weight: Array, volume: Array, x: Array, u: Array, root: Array) -> tuple[Array, Array, Array]:
    """Centre and spread of the density under the points, and the elements where they are unlike those it has."""
    size, plates = len(x), log_weight.ndim - 1
    w = np.exp(log_weight - np.max(log_weight, axis=0, keepdims=True))
    w = w / np.sum(w, axis=0)
    mean = np.sqrt(2) * np.tensordot(x, w, 1)  # in units of the root: 0 and the identity where all is well
    second = 2 * np.tensordot(x[:, None] * x[None, :], w, 1)
    cov = second - mean[:, None] * mean[None, :]
    own = np.stack([cov[d, d] for d in range(size)])
    det = cov[0, 0] if size == 1 else cov[0, 0] * cov[1, 1] - cov[0, 1] * cov[1, 0]
    unlike = (np.abs(mean) > 1).any(axis=0) | (own > 4).any(axis=0) | (own < 0.25).any(axis=0) | (det < 0.06)
    told = np.ptp(log_weight - volume, axis=0) > 1e-9  # of an element that is not there nothing is
    unlike &= told & np.isfinite(mean).all(axis=0) & np.isfinite(cov).all(axis=(0, 1))
    safe = np.where(unlike, cov, np.eye(size).reshape(size, size, *[1] * plates))
    safe = safe + 1e-4 * np.eye(size).reshape(size, size, *[1] * plates)
    low = np.sqrt(safe) if size == 1 else np.moveaxis(np.linalg.cholesky(_elements_first(safe, 2)), (-2, -1), (0, 1))
    centre = u + np.sum(root * mean[None, :], axis=1)[:, None]
    return centre, np.sum(root[:, :, None] * low[None, :, :], axis=1), unlike
