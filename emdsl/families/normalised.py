"""Whether a declared density integrates, or sums, to 1 over the domain of x; and random arguments to try it at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
from scipy import special

from emdsl.errors import Problem
from emdsl.families.density import expression_log_density, limits
from emdsl.families.scope import Array, Scope
from emdsl.language.model import Domain, Family

TRIALS = 3
TOLERANCE = 1e-3
FAR = 1e30
POLE = 1e-4  # of a power: 1 / x has to be told from x^-0.999 beside rounding
ENDS = 100.0  # a bounded interval is cut off at a share of exp(-100)
Density = Callable[[Array], Array]

# Gauss-Kronrod 7-15; Piessens et al. (1983), QUADPACK.
_K15 = np.array([0.991455371120813, 0.949107912342759, 0.864864423359769, 0.741531185599394,
                 0.586087235467691, 0.405845151377397, 0.207784955007898, 0.0])  # fmt: skip
_W15 = np.array([0.022935322010529, 0.063092092629979, 0.104790010322250, 0.140653259715525,
                 0.169004726639267, 0.190350578064785, 0.204432940075298, 0.209482141084728])  # fmt: skip
_W7 = np.array([0.0, 0.129484966168870, 0.0, 0.279705391489277, 0.0, 0.381830050505119, 0.0, 0.417959183673469])
NODES = np.concatenate([-_K15, _K15[-2::-1]])
KRONROD, GAUSS = (np.concatenate([w, w[-2::-1]]) for w in (_W15, _W7))


def check_families(families: Iterable[Family]) -> tuple[Problem, ...]:
    """What is wrong with the families that a model declares; nothing for those of the prelude."""
    found = (check_normalised(f) for f in families if f.user)
    return tuple(p for p in found if p is not None)


def check_normalised(family: Family, seed: int = 0) -> Problem | None:
    """E090 where a density does not integrate to 1 at random arguments; None where it does, or nothing can be said.

    Arguments at which the density is no number (a bound that another argument passes) are drawn again.
    """
    for signature in range(len(family.signatures)):
        tried = 0
        for trial in range(4 * TRIALS):
            rng = np.random.default_rng([seed, signature, trial])
            sizes = dict.fromkeys(family.sizes, 2)
            args = random_arguments(family, signature, sizes, rng)
            if tried == TRIALS:
                break
            if (total := integral(family, signature, args, sizes)) is not None:
                tried += 1
                if not abs(total - 1) < TOLERANCE:
                    return _wrong(family, args, total)
    return None


def _wrong(family: Family, args: Mapping[str, Array], total: float) -> Problem:
    at = ", ".join(f"{name} = {np.array2string(value[0], precision=4)}" for name, value in args.items())
    verb = "sums" if family.x.domain.discrete else "integrates"
    seen = f"{total:.6g}" if np.isfinite(total) else "infinity"
    return Problem(
        "E090",
        f"the density of {family.name} {verb} to {seen}, not 1, at {at}",
        family.span,
        "a family's log density keeps every constant; the domain of its variate, bounds included, is its support",
    )


# ---------------------------------------------------------------- random arguments


def random_arguments(
    family: Family,
    signature: int,
    sizes: Mapping[str, int],
    rng: np.random.Generator,
    rows: int = 1,
    reach: float = 1.0,
) -> dict[str, Array]:
    """Arguments from their domains, rows + own axes; bounds may speak of arguments that stand before.

    `reach` multiplies the distance from a lower or an upper bound.
    """
    out: dict[str, Array] = {}
    for argument in family.signatures[signature].arguments:
        scope = Scope(sizes=sizes, local=out, count=rows)
        out[argument.name] = random_element(argument.domain, scope, rng, reach)
    return out


def random_element(domain: Domain, s: Scope, rng: np.random.Generator, reach: float = 1.0) -> Array:
    """One element of a domain per row, of moderate size."""
    shape = (s.count, *(d.value(s.sizes) if hasattr(d, "value") else 2 for d in domain.dims))
    z = rng.standard_normal(shape)
    low, high = (np.broadcast_to(v, (s.count,)).reshape(-1, *(1,) * (len(shape) - 1)) for v in limits(domain, s))
    match domain.kind:
        case "simplex":
            return np.asarray(rng.dirichlet(np.full(shape[-1], 2.0), shape[:-1]))
        case "spd" | "correlation":
            a = z @ np.swapaxes(z, -1, -2) / shape[-1] + 0.5 * np.eye(shape[-1])
            root = np.sqrt(np.diagonal(a, axis1=-2, axis2=-1))
            return np.asarray(a if domain.kind == "spd" else a / (root[..., :, None] * root[..., None, :]))
        case "bool":
            return rng.integers(0, 2, shape)
    if domain.discrete:
        return np.asarray(np.minimum(low + rng.integers(1, 8, shape), high).astype(np.int64))
    bounded, below = np.isfinite(low) & np.isfinite(high), np.isfinite(low)
    span = np.where(bounded, high - np.where(below, low, 0), 1)
    start, stop = np.where(below, low, 0), np.where(np.isfinite(high), high, 0)
    inside = start + span * (0.1 + 0.8 / (1 + np.exp(-z)))
    far = reach * np.exp(0.3 + 0.6 * z)
    half = np.where(below, start + far, stop - far)
    free = 0.7 * np.sort(z, -1) if domain.kind == "ordered" else 0.7 * z
    free = free - free.mean(-1, keepdims=True) if domain.kind == "zero_sum" else free
    return np.where(bounded, inside, np.where(below | np.isfinite(high), half, free))


# ---------------------------------------------------------------- integrals


def integral(family: Family, signature: int, args: Mapping[str, Array], sizes: Mapping[str, int]) -> float | None:
    """The density over the whole domain of x; None where it is no number, or the quadrature did not converge."""
    arrays = [v[:1] for v in args.values()]
    seen = [0, 0]

    def f(x: Array) -> Array:
        with np.errstate(all="ignore"):
            value = np.exp(expression_log_density(family, signature, x, arrays, sizes=sizes))
        lost = np.isnan(value)
        seen[0], seen[1] = seen[0] + int(lost.sum()), seen[1] + lost.size
        return np.asarray(np.where(lost, 0.0, value))

    with np.errstate(all="ignore"):
        total = _total(f, family.x.domain, args, sizes)
    return None if 2 * seen[0] > seen[1] else total


def _total(f: Density, domain: Domain, args: Mapping[str, Array], sizes: Mapping[str, int]) -> float | None:
    """By sums, adaptive quadrature or a grid, as the domain asks."""
    low, high = (float(v[0]) for v in limits(domain, Scope(sizes=sizes, local={k: v[:1] for k, v in args.items()})))
    if not low < high:
        return None
    shape = tuple(d.value(sizes) if hasattr(d, "value") else 2 for d in domain.dims)
    if domain.discrete:
        return _sum(f, low, high, shape)
    if not shape and domain.interval:
        return quadrature(f, low, high)
    return _tensor(f, domain, shape, low, high)


def _sum(f: Density, low: float, high: float, shape: tuple[int, ...]) -> float | None:
    """Sums over the lattice; one unbounded dimension is summed far out, and its tail integrated."""
    if shape:
        n = int(min(high - low + 1, 120))
        count = int(np.prod(shape))
        if count > 3 or n**count > 2_000_000:
            return None
        grid = np.stack(np.meshgrid(*[low + np.arange(n)] * count, indexing="ij"), -1).reshape(-1, *shape)
        return float(f(grid).sum())
    n = int(min(high - low + 1, 20_000))
    total = float(f(low + np.arange(n)).sum())
    if high - low + 1 <= n or f(np.array([low + n]))[0] < 1e-12:
        return total
    tail = _tail(f, low + n)
    return None if tail is None else total + tail


def _tail(f: Density, start: float) -> float | None:
    """A heavy tail: trapezoids while doubles hold its logs, then the power law that it ends in."""
    x = start * 2 ** np.linspace(0, 20, 2001)
    x = np.unique(np.floor(x))
    value = f(x)
    if not np.isfinite(value).all():
        return np.inf
    slope = -np.log(value[-1] / value[-101]) / np.log(x[-1] / x[-101]) if value[-1] > 0 else np.inf
    if slope < 1.05:  # about 1 / x: logarithms tell whether that ends, and they are beyond a sum
        return np.inf if slope < 0.95 else None
    beyond = x[-1] * value[-1] / (slope - 1) if np.isfinite(slope) else 0.0
    return float(((value[1:] + value[:-1]) / 2 * np.diff(x)).sum() + beyond + value[0] / 2)


def quadrature(f: Density, low: float, high: float) -> float | None:
    """Adaptive Gauss-Kronrod on intervals that shrink geometrically towards finite ends, zero and the peak."""
    far = np.array([sign * FAR for sign, end in ((1.0, high), (-1.0, low)) if np.isinf(end)])
    if (FAR * f(far) > 1).any():  # a tail that falls no faster than 1 / x has no end
        return np.inf
    if any(_has_a_pole(f, end, sign) for sign, end in ((1.0, low), (-1.0, high)) if np.isfinite(end)):
        return np.inf
    edges = _edges(low, high, None)
    peak = float(edges[:-1][np.argmax(f((edges[:-1] + edges[1:]) / 2))])
    edges = np.union1d(edges, _edges(low, high, peak))
    a, b = edges[:-1], edges[1:]
    total, left = 0.0, 0.0
    for _ in range(30):
        half, middle = (b - a) / 2, (a + b) / 2
        value = f((middle[:, None] + half[:, None] * NODES).ravel()).reshape(len(a), -1)
        value = np.where(np.isfinite(value), value, 0.0)  # a node that rounding has put on a singular end
        fine, coarse = (value @ KRONROD) * half, (value @ GAUSS) * half
        error = np.abs(fine - coarse)
        done = ~(error > 1e-7 / 50) | (half < 1e-13 * np.abs(middle))
        total, left = total + float(fine[done].sum()), float(error[~done].sum())
        a, b = np.concatenate([a[~done], middle[~done]]), np.concatenate([middle[~done], b[~done]])
        if not len(a) or len(a) > 20_000:
            break
    return total if left < TOLERANCE / 10 and np.isfinite(total) else None


def _has_a_pole(f: Density, end: float, sign: float) -> bool:
    """Whether a density grows towards an end of its domain at least as fast as 1 / distance, which has no integral."""
    step = 1 / FAR if end == 0 else 1e-10 * abs(end)
    first, second, third = np.log10(f(end + sign * step * np.array([1.0, 10.0, 100.0])))
    return bool(first - second > 1 - POLE and second - third > 1 - POLE)


def _edges(low: float, high: float, peak: float | None) -> Array:
    steps = np.exp(np.linspace(-320, 160, 241))
    if peak is not None:
        steps = np.exp(np.linspace(-18, 8, 105)) * max(1.0, abs(peak))
        found = np.concatenate([peak - steps, [peak], peak + steps])
    elif np.isfinite(low) and np.isfinite(high):
        near = (high - low) / 2 * np.exp(np.linspace(-320, 0, 161))
        found = np.concatenate([low + near, high - near])
    elif np.isfinite(low) or np.isfinite(high):
        found = low + steps if np.isfinite(low) else high - steps
    else:
        found = np.concatenate([-steps, [0.0], steps])
    ends = [v for v in (low, high) if np.isfinite(v)]
    return np.unique(np.clip(np.concatenate([found, ends]), low, high))


# ---------------------------------------------------------------- several dimensions


def _tensor(f: Density, domain: Domain, shape: tuple[int, ...], low: float, high: float) -> float | None:
    """The trapezoid rule in unconstrained coordinates, at two resolutions that must agree."""
    n = free_dimension(domain, shape)
    if n is None or not 1 <= n <= 3:
        return None
    points = {1: 2401, 2: 321, 3: 97}[n]
    axis = np.linspace(-1, 1, points)
    h = axis[1] - axis[0]
    fine = coarse = edge = 0.0
    for first in [np.arange(points)] if n < 3 else np.arange(points)[:, None]:
        index = np.stack(np.meshgrid(first, *[np.arange(points)] * (n - 1), indexing="ij"), -1).reshape(-1, n)
        x, log_jacobian = constrain(domain, shape, axis[index], low, high)
        value = f(x) * np.exp(log_jacobian)
        fine += float(value.sum())
        coarse += float(value[(index % 2 == 0).all(1)].sum())
        edge += float(value[((index == 0) | (index == points - 1)).any(1)].sum())
    fine, coarse = fine * h**n, coarse * (2 * h) ** n
    cut = edge * h ** (n - 1)  # what still stands at the faces of the cube, and so lies beyond them
    return fine if abs(fine - coarse) < TOLERANCE / 3 and cut < TOLERANCE else None


def free_dimension(domain: Domain, shape: tuple[int, ...]) -> int | None:
    """How many free coordinates an element has."""
    count = int(np.prod(shape, dtype=int))
    match domain.kind:
        case _ if domain.interval:
            return count
        case "simplex":
            return count - 1
        case "spd":
            return shape[0] * (shape[0] + 1) // 2
        case _:
            return None


def constrain(domain: Domain, shape: tuple[int, ...], t: Array, low: float, high: float) -> tuple[Array, Array]:
    """x(t) and log |dx/dt| for t in the cube (-1, 1)^n. A simplex is measured by all but its last entry."""
    if domain.kind == "simplex":
        return _sticks(t)
    if domain.kind == "spd":
        return _factors(t, shape[0])
    x, log_jacobian = _line(t, low, high)
    return x.reshape(len(t), *shape), log_jacobian.sum(1)


def _line(t: Array, low: float, high: float) -> tuple[Array, Array]:
    """Elementwise: the cube's edge to (low, high), with geometrically spaced ends."""
    if np.isfinite(low) and np.isfinite(high):
        s = ENDS * t
        log_jacobian = np.log(ENDS * (high - low)) + special.log_expit(s) + special.log_expit(-s)
        return low + (high - low) * special.expit(s), log_jacobian
    if np.isfinite(low) or np.isfinite(high):
        reach = 60 if t.shape[1] < 3 else 16
        s = reach * t
        return (low + np.exp(s) if np.isfinite(low) else high - np.exp(s)), np.log(reach) + s
    reach = 14 if t.shape[1] < 3 else 7
    return np.sinh(reach * t), np.log(reach) + np.log(np.cosh(reach * t))


def _sticks(t: Array) -> tuple[Array, Array]:
    """Stick breaking: each entry takes a share of what is left."""
    log_share, log_rest = special.log_expit(ENDS * t), special.log_expit(-ENDS * t)
    left = np.cumsum(log_rest, 1)
    before = np.concatenate([np.zeros((len(t), 1)), left[:, :-1]], 1)
    x = np.exp(np.concatenate([log_share + before, left[:, -1:]], 1))
    return x, (np.log(ENDS) + log_share + log_rest + before).sum(1)


def _factors(t: Array, d: int) -> tuple[Array, Array]:
    """x = L L'; |dx/dL| = 2^d prod L_ii^(d - i)."""
    factor = np.zeros((len(t), d, d))
    every_a, log_a = _line(t, 0.0, np.inf)
    every_b, log_b = _line(t, -np.inf, np.inf)
    diagonal, log_a, log_b = every_a[:, :d], log_a[:, :d], log_b[:, d:]
    factor[:, np.arange(d), np.arange(d)] = np.sqrt(diagonal)
    factor[(slice(None), *np.tril_indices(d, -1))] = every_b[:, d:]
    log_jacobian = log_a.sum(1) + log_b.sum(1) + (np.log(diagonal) / 2 * (d - np.arange(d))).sum(1)
    log_jacobian -= (np.log(diagonal) / 2).sum(1)  # the diagonal of L is the root of what t gave
    return factor @ np.swapaxes(factor, -1, -2), log_jacobian
