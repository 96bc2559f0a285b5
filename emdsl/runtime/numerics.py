"""Numeric helpers that generated modules print into themselves, each only where it is used.

Arrays carry rows last. Log-probabilities of zero are held as `LOWEST`, so that zero counts times
them stay zero; a total at that level is reported as -inf.
"""

import numpy as np
from scipy import linalg, optimize, special

from emdsl.runtime.faults import DataError

LOWEST = -1e200
REACH = 20.0  # how far one numeric M-step may go in unconstrained coordinates, relative to 1 + the start


class Degenerate(Exception):
    """A component is empty or has collapsed: `names` are the parameters, `message` says what happened."""

    def __init__(self, names, message):
        super().__init__(names, message)
        self.names, self.message = names, message


def log0(p):
    """log p, with log 0 = LOWEST."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.maximum(np.log(np.asarray(p, float)), LOWEST)


def honest(value):
    """A log-probability, -inf where a zero probability took part."""
    return np.where(np.asarray(value) < -1e100, -np.inf, value)


def chunks(n, size):
    """Slices of `size` rows that cover n rows."""
    return [slice(a, min(a + size, n)) for a in range(0, n, size)]


def pairs(x, out):
    """Products x_i x_j for i <= j, row by row of the upper triangle, into out: (d, n) -> (d (d + 1) / 2, n)."""
    at = 0
    for i in range(x.shape[0]):
        np.multiply(x[i:], x[i], out=out[at : at + len(x) - i])
        at += len(x) - i


def packed(a):
    """Coefficients of `pairs`: a symmetric (..., d, d) as its upper triangle, off the diagonal doubled."""
    d = a.shape[-1]
    i, j = np.triu_indices(d)
    both = a + np.swapaxes(a, -1, -2)
    both[..., np.arange(d), np.arange(d)] /= 2
    return both[..., i, j]


def unpacked(s, d):
    """Sums over `pairs` as symmetric matrices: (..., d (d + 1) / 2) -> (..., d, d)."""
    i, j = np.triu_indices(d)
    out = np.empty((*s.shape[:-1], d, d))
    out[..., i, j] = s
    out[..., j, i] = s
    return out


def normalise(table, states):
    """Posterior probabilities over the leading axes of a log table, and its log-sum (rows last).

    table : (*states, ...) unnormalised log probabilities, overwritten. `states` counts the leading axes.
    Returns (probabilities of the same shape, log-sum over the leading axes).
    """
    flat = table.reshape(-1, *table.shape[states:])
    top = flat.max(axis=0)
    flat -= top
    wide = flat.size > 0 and flat.min() < -700.0  # exp of less is slow, and nothing
    if wide:
        np.maximum(flat, -700.0, out=flat)
    np.exp(flat, out=flat)
    if wide:
        flat[flat < 1e-303] = 0.0
    mass = flat.sum(axis=0)
    flat *= 1 / mass
    return flat.reshape(table.shape), honest(top + np.log(mass))


def segment_sum(values, codes, size):
    """Sums of the last axis by integer code: (..., n), (n,) -> (..., size)."""
    if values.ndim == 1:
        return np.bincount(codes, weights=values, minlength=size)
    flat = np.broadcast_to(values, (*values.shape[:-1], len(codes))).reshape(-1, len(codes))
    out = np.empty((flat.shape[0], size))
    for k, row in enumerate(flat):
        out[k] = np.bincount(codes, weights=row, minlength=size)
    return out.reshape(*values.shape[:-1], size)


def segment_sum_nd(values, codes, size, axes):
    """As `segment_sum`, over the last `axes` axes; codes broadcast against them."""
    shape = values.shape[values.ndim - axes :]
    codes = np.broadcast_to(codes, shape).reshape(-1)
    return segment_sum(values.reshape(*values.shape[: values.ndim - axes], -1), codes, size)


def inverse(a):
    """Inverse of symmetric positive definite matrices, by Cholesky; Degenerate where one is not."""
    low = cholesky(a)
    eye = np.broadcast_to(np.eye(a.shape[-1]), a.shape)
    half = np.linalg.solve(low, eye)
    return np.swapaxes(half, -1, -2) @ half


def log_determinant(a):
    """log det of symmetric positive definite matrices."""
    low = cholesky(a)
    return 2 * np.log(np.diagonal(low, axis1=-2, axis2=-1)).sum(-1)


def cholesky(a):
    """Lower Cholesky factors; Degenerate where a matrix is not positive definite."""
    try:
        low = np.linalg.cholesky(a)
    except np.linalg.LinAlgError:
        low = np.full(a.shape, np.nan)
    if not np.isfinite(low).all():
        raise Degenerate([], "a covariance matrix is not positive definite")
    return low


def softplus(a):
    """log(1 + exp(a))."""
    return np.logaddexp(0.0, a)


def trigamma(a):
    return special.polygamma(1, a)


def log_bessel_i0(k):
    """log I0(k), stable for large k."""
    return np.log(special.i0e(k)) + np.abs(k)


def bessel_ratio(k):
    """I1(k) / I0(k), the derivative of log I0."""
    return special.i1e(k) / special.i0e(k)


def normal_density(a):
    return np.exp(-(a**2) / 2) / np.sqrt(2 * np.pi)


def shares(counts, name, old, policy):
    """p = c / sum c over the last axis: the maximum of sum c log p on a simplex.

    A negative count (a prior below 1 on an empty level) has its maximum on the boundary, at 0.
    """
    counts = np.maximum(counts, 0.0)
    mass = counts.sum(-1, keepdims=True)
    empty = ~(mass > 0)
    if empty.any():
        if policy == "raise":
            raise Degenerate([name], f"nothing is left to estimate {name} from: all its expected counts are 0")
        counts = np.where(empty, old, counts)
        mass = counts.sum(-1, keepdims=True)
    return counts / mass


def solve_normal(left, right, name, old, policy):
    """Solves H v = g for positive semidefinite H over leading batch axes: (..., p, p), (..., p) -> (..., p).

    Where H is singular (what is only identified together), the solution nearest to the old values is taken.
    """
    left = np.broadcast_to(left, (*right.shape, right.shape[-1]))
    diagonal = np.diagonal(left, axis1=-2, axis2=-1)
    empty = ~(diagonal > 0).any(-1)
    if empty.any() or not np.isfinite(left).all() or not np.isfinite(right).all():
        if policy != "keep":
            raise Degenerate([name], f"nothing is left to estimate {name} from: its expected counts are 0")
        left = np.where(empty[..., None, None], np.eye(left.shape[-1]), np.nan_to_num(left))
        right = np.where(empty[..., None], old, np.nan_to_num(right))
        diagonal = np.diagonal(left, axis1=-2, axis2=-1)
    scale = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    scaled = left * scale[..., :, None] * scale[..., None, :]
    residual = (right - (left @ old[..., None])[..., 0]) * scale
    try:
        low = np.linalg.cholesky(scaled)
        singular = np.diagonal(low, axis1=-2, axis2=-1).min() ** 2 < 1e-12
    except np.linalg.LinAlgError:
        singular = True
    if not singular:
        return np.linalg.solve(scaled, (right * scale)[..., None])[..., 0] * scale
    values, vectors = np.linalg.eigh(scaled)
    kept = values > 1e-11 * values[..., -1:]
    inverse = np.where(kept, 1 / np.where(kept, values, 1.0), 0.0)
    step = vectors @ (inverse[..., None] * (np.swapaxes(vectors, -1, -2) @ residual[..., None]))
    return old + step[..., 0] * scale


def spread(scatter, weight, name, old, policy, scale):
    """C / a as covariance matrices, checked: (..., d, d), (...) -> (..., d, d)."""
    with np.errstate(all="ignore"):
        out = scatter / np.asarray(weight)[..., None, None]
    out = (out + np.swapaxes(out, -1, -2)) / 2
    d = out.shape[-1]
    diagonal = np.sqrt(np.abs(np.diagonal(out, axis1=-2, axis2=-1)))
    with np.errstate(all="ignore"):
        correlation = out / (diagonal[..., :, None] * diagonal[..., None, :])
    usable = np.isfinite(correlation).all((-1, -2))
    smallest = np.full(usable.shape, -1.0)
    if usable.any():
        smallest[usable] = np.linalg.eigvalsh(correlation[usable])[..., 0]
    small = np.diagonal(out, axis1=-2, axis2=-1) <= 1e-14 * np.asarray(scale) ** 2
    bad = ~usable | (smallest < 1e-12 * d) | small.any(-1)
    if bad.any():
        where = f" {tuple(int(i) for i in np.argwhere(bad)[0])}" if bad.ndim else ""
        if policy == "regularise":
            ridge = 1e-6 * np.mean(np.asarray(scale) ** 2)
            return np.where(bad[..., None, None], np.nan_to_num(out) + ridge * np.eye(d), out)
        if policy != "keep":
            raise Degenerate([name], f"{name}{where} has collapsed: its matrix is singular")
        out = np.where(bad[..., None, None], old, out)
    return out


def checked(value, name, old, policy, low, high):
    """A closed root inside its domain: not a number is a collapse, a value outside is put on the boundary."""
    value = np.asarray(value, float)
    bad = ~np.isfinite(value)
    if bad.any():
        if policy != "keep":
            raise Degenerate([name], f"nothing is left to estimate {name} from: its expected counts are 0")
        value = np.where(bad, old, value)
    return np.clip(value, low, high)


def positive(value, name, old, policy, floor, log_weight):
    """A root that must be positive.

    At 0 it is a boundary estimate where Q has no log left (`log_weight`, its coefficient, is 0: all counts
    are zero); else Q is unbounded there and the parameter has collapsed. Below `floor` is rounding.
    """
    value = np.asarray(value, float)
    with np.errstate(invalid="ignore"):
        bounded = (value == 0) & (np.asarray(log_weight) == 0)
        bad = ~((value > floor) | bounded) | ~np.isfinite(value)
    if bad.any():
        where = f" {tuple(int(i) for i in np.argwhere(bad)[0])}" if bad.ndim else ""
        if policy == "regularise":
            return np.where(bad, max(1e3 * floor, 1e-6), value)
        if policy != "keep":
            raise Degenerate([name], f"{name}{where} has collapsed to its boundary")
        value = np.where(bad, old, value)
    return value


def best_root(candidates, objective, low, high):
    """Of several roots, elementwise, the feasible one with the largest value of `objective`."""
    best, value = None, None
    for c in candidates:
        with np.errstate(all="ignore"):
            q = np.where(np.isfinite(c) & (c > low) & (c < high), objective(np.clip(c, low, high)), -np.inf)
        best, value = (c, q) if best is None else (np.where(q > value, c, best), np.maximum(q, value))
    return np.where(np.isfinite(value), best, np.nan)


def maximise_scalar(score, start, domain, low=-np.inf, high=np.inf):
    """Elementwise root of a score that falls through zero, by Newton kept inside a bracket.

    `score(v)` gives (first, second derivative). Steps are taken in unconstrained coordinates (log of a
    positive, logit of a unit); a step that leaves the bracket is replaced by its middle.
    """
    to, back, slope = _COORDINATES[domain]
    t = to(np.array(np.clip(start, max(low, 1e-300) if domain == "positive" else low, high), float))
    lower, upper = np.full(t.shape, -np.inf), np.full(t.shape, np.inf)
    for step in range(200):
        v = back(t)
        with np.errstate(all="ignore"):
            first, second = score(v)
            d1, d2 = slope(v)
            gradient, curvature = first * d1, second * d1**2 + first * d2
            lower, upper = np.where(gradient > 0, t, lower), np.where(gradient < 0, t, upper)
            move = np.where(curvature < 0, -gradient / curvature, np.sign(gradient) * 2.0 ** min(step, 4))
        move = np.clip(np.nan_to_num(move), -4.0, 4.0)
        new = t + move
        inside = (new > lower) & (new < upper)
        middle = np.where(np.isfinite(lower) & np.isfinite(upper), (lower + upper) / 2, new)
        new = np.where(inside | (gradient == 0), new, middle)
        new = np.clip(new, *_LIMITS[domain])
        if np.all(np.abs(new - t) <= 1e-13 * (1 + np.abs(t))):
            t = new
            break
        t = new
    return np.clip(back(t), low, high)


_COORDINATES = {
    "real": (lambda v: v, lambda t: t, lambda v: (1.0, 0.0)),
    "positive": (np.log, np.exp, lambda v: (v, v)),
    "unit": (special.logit, special.expit, lambda v: (v * (1 - v), v * (1 - v) * (1 - 2 * v))),
}
_LIMITS = {"real": (-1e300, 1e300), "positive": (-230.0, 230.0), "unit": (-36.0, 36.0)}


def maximise(objective, start, domains, bounds):
    """Quasi-Newton over several parameters in unconstrained coordinates.

    `objective(values)` gives (value, {name: gradient}); `domains` maps names to their domain. Never returns
    a point below the start.
    """
    names = list(domains)
    shapes = {n: np.shape(to_free(start[n], domains[n], bounds[n])) for n in names}
    cuts = np.cumsum([0] + [int(np.prod(shapes[n])) for n in names])

    first = np.concatenate([np.ravel(to_free(start[n], domains[n], bounds[n])) for n in names])

    def values_at(flat):
        return {
            n: from_free(flat[cuts[i] : cuts[i + 1]].reshape(shapes[n]), domains[n], bounds[n], np.shape(start[n]))
            for i, n in enumerate(names)
        }

    def loss(flat):
        if np.abs(flat - first).max(initial=0.0) > REACH * (1 + np.abs(first).max(initial=0.0)):
            return 1e300, np.zeros_like(flat)
        with np.errstate(all="ignore"):
            values = values_at(flat)
            value, gradient = objective(values)
            parts = [
                pullback(
                    flat[cuts[i] : cuts[i + 1]].reshape(shapes[n]), gradient[n], domains[n], bounds[n], values[n]
                ).ravel()
                for i, n in enumerate(names)
            ]
        slope = np.concatenate(parts)
        if not np.isfinite(value) or not np.isfinite(slope).all():
            return 1e300, np.zeros_like(flat)
        return -value / scale, -slope / scale

    scale = 1.0
    before, slope = loss(first)
    scale = max(1.0, float(np.abs(slope).max()) if slope.size else 1.0)
    found = optimize.minimize(
        loss, first, jac=True, method="BFGS" if first.size <= 200 else "L-BFGS-B", options={"maxiter": 500}
    )
    if not found.fun <= before / scale or not np.isfinite(found.x).all():
        return {n: start[n] for n in names}
    return values_at(found.x)


def to_free(value, domain, bounds):
    """A parameter in unconstrained coordinates."""
    value, (low, high) = np.asarray(value, float), bounds
    if domain in ("positive", "unit", "real"):
        low = 0.0 if domain != "real" and low is None else low
        high = 1.0 if domain == "unit" and high is None else high
        if low is not None and high is not None:
            return special.logit(np.clip((value - low) / (high - low), 1e-12, 1 - 1e-12))
        if low is not None:
            return np.log(np.maximum(value - low, 1e-300))
        return value if high is None else np.log(np.maximum(high - value, 1e-300))
    if domain == "simplex":
        log = np.log(np.maximum(value, 1e-300))
        return log[..., :-1] - log[..., -1:]
    if domain == "ordered":
        return np.concatenate([value[..., :1], np.log(np.maximum(np.diff(value), 1e-300))], axis=-1)
    if domain == "zero_sum":
        return value[..., :-1]
    low = np.linalg.cholesky(value)
    d = value.shape[-1]
    i, j = np.tril_indices(d, -1)
    if domain == "correlation":
        return np.stack([low[..., a, b] / low[..., a, a] for a, b in zip(i, j, strict=True)], axis=-1)
    diagonal = np.log(np.diagonal(low, axis1=-2, axis2=-1))
    return np.concatenate([diagonal, low[..., i, j]], axis=-1)


def from_free(free, domain, bounds, shape):
    """The inverse of `to_free`."""
    low, high = bounds
    if domain in ("positive", "unit", "real"):
        low = 0.0 if domain != "real" and low is None else low
        high = 1.0 if domain == "unit" and high is None else high
        if low is not None and high is not None:
            return low + (high - low) * special.expit(free)
        if low is not None:
            return low + np.exp(np.clip(free, -690, 690))
        return free if high is None else high - np.exp(np.clip(free, -690, 690))
    if domain == "simplex":
        return special.softmax(np.concatenate([free, np.zeros((*free.shape[:-1], 1))], axis=-1), axis=-1)
    if domain == "ordered":
        return np.cumsum(np.concatenate([free[..., :1], np.exp(np.clip(free[..., 1:], -690, 690))], axis=-1), axis=-1)
    if domain == "zero_sum":
        return np.concatenate([free, -free.sum(-1, keepdims=True)], axis=-1)
    factor = _factor(free, domain, shape[-1])
    return factor @ np.swapaxes(factor, -1, -2)


def _factor(free, domain, d):
    """The Cholesky factor that free coordinates stand for."""
    i, j = np.tril_indices(d, -1)
    factor = np.zeros((*free.shape[:-1], d, d))
    if domain == "correlation":
        factor[..., np.arange(d), np.arange(d)] = 1.0
        factor[..., i, j] = free
        return factor / np.linalg.norm(factor, axis=-1, keepdims=True)
    factor[..., np.arange(d), np.arange(d)] = np.exp(np.clip(free[..., :d], -340, 340))
    factor[..., i, j] = free[..., d:]
    return factor


def pullback(free, gradient, domain, bounds, value):
    """Gradient in unconstrained coordinates from the gradient in the parameter."""
    low, high = bounds
    gradient = np.broadcast_to(gradient, np.shape(value))
    if domain in ("positive", "unit", "real"):
        low = 0.0 if domain != "real" and low is None else low
        high = 1.0 if domain == "unit" and high is None else high
        if low is not None and high is not None:
            return gradient * (value - low) * (high - value) / (high - low)
        if low is not None:
            return gradient * (value - low)
        return gradient if high is None else -gradient * (high - value)
    if domain == "simplex":
        full = value * (gradient - (gradient * value).sum(-1, keepdims=True))
        return full[..., :-1]
    if domain == "ordered":
        tail = np.cumsum(gradient[..., ::-1], axis=-1)[..., ::-1]
        return np.concatenate([tail[..., :1], tail[..., 1:] * np.diff(value)], axis=-1)
    if domain == "zero_sum":
        return gradient[..., :-1] - gradient[..., -1:]
    d = np.shape(value)[-1]
    factor = _factor(free, domain, d)
    by_factor = (gradient + np.swapaxes(gradient, -1, -2)) @ factor
    i, j = np.tril_indices(d, -1)
    if domain == "correlation":
        raw = np.zeros((*free.shape[:-1], d, d))
        raw[..., np.arange(d), np.arange(d)] = 1.0
        raw[..., i, j] = free
        norm = np.linalg.norm(raw, axis=-1, keepdims=True)
        by_raw = (by_factor - factor * (by_factor * factor).sum(-1, keepdims=True)) / norm
        return by_raw[..., i, j]
    diagonal = np.diagonal(by_factor, axis1=-2, axis2=-1) * np.diagonal(factor, axis1=-2, axis2=-1)
    return np.concatenate([diagonal, by_factor[..., i, j]], axis=-1)


_ = linalg


def row_count(rows):
    """How many rows a slice or an array of row numbers stands for."""
    return rows.stop - rows.start if isinstance(rows, slice) else len(rows)


def cached_features(prepared, make, numbers):
    """Features of every chunk, where all of them together are small (64 MB); else none: they are made each time."""
    if numbers * 8 > 64e6:
        return {}
    return {(make.__name__, rows.start, rows.stop): make(prepared, rows) for rows in prepared["the chunks"]}


def row_features(prepared, rows, make):
    """The features of some rows: those kept at preparation, or made now."""
    kept = prepared["the features"].get((make.__name__, rows.start, rows.stop)) if isinstance(rows, slice) else None
    return make(prepared, rows) if kept is None else kept


def rows_last(values, plates):
    """An array with its leading plate axes moved to the end, the outermost last, contiguous."""
    order = (*range(plates, values.ndim), *range(1, plates), *range(min(plates, 1)))
    return np.array(np.transpose(values, order), order="C")


def plates_first(values, plates):
    """An array with its trailing plate axes moved to the front."""
    return np.moveaxis(values, range(-plates, 0), range(plates))


def without_missing(values, mask):
    """Values with 0 where missing."""
    return values if mask is None else np.where(mask, values, 0)


def presence(mask, shape, plates, axes, name):
    """1.0 where present, over the first `axes` axes, plates last. The other axes are present together or not at all."""
    if mask is None:
        order = (*range(plates, axes), *range(1, plates), *range(min(plates, 1)))
        return np.broadcast_to(1.0, tuple(shape[i] for i in order))
    if mask.ndim > axes:
        own = tuple(range(axes, mask.ndim))
        some, every = mask.any(own), mask.all(own)
        if (some != every).any():
            raise DataError(
                f"{int((some != every).sum())} elements of {name} are partly missing, which its family cannot leave out"
            )
        mask = every
    return rows_last(mask.astype(float), plates)


def centre(values, mask, own):
    """The mean over all but the last `own` axes, missing entries left out; 0 where nothing is left."""
    axes = tuple(range(values.ndim - own))
    if mask is None:
        return np.mean(values, axis=axes) if values.size else np.zeros(values.shape[values.ndim - own :])
    count = mask.sum(axes)
    return np.where(mask, values, 0.0).sum(axes) / np.maximum(count, 1)


def data_scale(arrays):
    """The smallest standard deviation of centred data, 1 where there is none: what rounding is measured against."""
    found = [float(s) for a in arrays if a.size for s in np.sqrt(np.mean(a**2, axis=-1)).ravel()]
    return min((s for s in found if s > 0), default=1.0)


def sample_rows(n, rng, most=20000):
    """All rows, or a seeded sample of them in order."""
    return slice(0, n) if n <= most else np.sort(rng.choice(n, most, replace=False))


def seeded(q, states, data, rng):
    """A start for the posterior of a discrete block: rows near seeded rows belong together.

    Seeds are drawn as in k-means++ (Arthur and Vassilvitskii 2007) on standardised data, a list of arrays
    with rows last; without data each element gets a state at random. Every state keeps a tenth of each element.
    """
    k = int(np.prod(q.shape[:states]))
    n = q.size // max(k, 1)
    if k == 1 or n == 0:
        return np.ones_like(q)
    choice = rng.integers(k, size=n)
    z = [np.asarray(a, float).reshape(-1, n) for a in data if a.size % n == 0]
    if z:
        z = np.concatenate(z)
        sd = z.std(axis=1)
        z = (z[sd > 0] - z[sd > 0].mean(axis=1, keepdims=True)) / sd[sd > 0, None]
        pick, distances = rng.integers(n), []
        for _ in range(k):
            distances.append(((z - z[:, [pick]]) ** 2).sum(0) + 1e-9 * rng.random(n))
            nearest = np.min(distances, axis=0)
            pick = rng.choice(n, p=nearest / nearest.sum())
        choice = np.argmin(distances, axis=0)
    soft = np.full((k, n), 0.1 / k)
    soft[choice, np.arange(n)] += 0.9
    return soft.reshape(q.shape)


def best_start(draw, step, tries, steps):
    """The best of a few seeded starts after a few EM steps each (Biernacki, Celeux and Govaert 2003).

    `draw()` gives parameters, `step(params)` (new parameters, log-likelihood before the step).
    """
    best, top = None, -np.inf
    for _ in range(tries):
        params, value = draw(), -np.inf
        first = params
        try:
            for _ in range(steps):
                params, value = step(params)
        except (Degenerate, np.linalg.LinAlgError):
            value = -np.inf
        if best is None or value > top:
            best, top = (params if np.isfinite(value) else first), value
    return best


def neutral(domain, shape, own, low, high, rng):
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
    if (low is not None and high is not None) or domain == "unit":
        a, b = low or 0.0, 1.0 if high is None else high
        return a + (b - a) * special.expit(0.5 * noise)
    if low is not None or domain == "positive":
        return (low or 0.0) + np.exp(0.5 * noise)
    return noise if high is None else high - np.exp(0.5 * noise)
