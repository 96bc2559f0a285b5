"""Domains in numbers: is a value inside, how many free parameters, does an estimate sit on the edge."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from emdsl.runtime.data.advice import other_codes
from emdsl.runtime.data.columns import (
    Array,
    Column,
    converted,
    place_words,
    plainly_finite,
    real_numbers,
    refuse_where,
    whole_numbers,
)
from emdsl.runtime.data.faults import DataError
from emdsl.runtime.data.sizes import ragged_name, size_value

INTEGER_DOMAINS = {
    "bool": "true or false (1 or 0)",
    "count": "a count",
    "category": "a category",
    "index": "an index",
}
Ends = tuple[Any, Any]
BOTH_ENDS = ("lower", "upper")
UNREAD = 0.5  # data of which a plate leaves out all: a mean, a scale, a rate or a probability whose density is a number
CLOSE = 1e-8  # how far from its sum or symmetry a value may be
FEW_NUMBERS = 64  # entries of matrices that Python goes through in less time than numpy is asked in
EDGE = 1e-8  # how near its bound an estimate is called on the boundary
TIE = 1e-6  # how near its neighbour an ordered one: steps in the log of their distance end where Q is level


def outside_domain(domain: str, values: Array, rank: int, closed: Sequence[str] = ()) -> tuple[Array, str]:
    """Where elements (the last `rank` axes) lie outside a real domain, and what they must be.

    `closed` admits ends: both where an estimate on the boundary starts another fit, of data those with a density.
    """
    match domain:
        case "positive" if "lower" in closed:
            return ~(values >= 0), "must not be negative"
        case "unit" if closed:
            above = values >= 0 if "lower" in closed else values > 0
            below = values <= 1 if "upper" in closed else values < 1
            open_end = "" if len(closed) == 2 else f", {int('lower' in closed)} excluded"
            return ~(above & below), f"must lie between 0 and 1{open_end}"
        case "positive":
            return ~(values > 0), "must be positive"
        case "unit":
            return ~((values > 0) & (values < 1)), "must lie strictly between 0 and 1"
        case "simplex":
            off = np.abs(values.sum(-1) - 1) > CLOSE * max(1, values.shape[-1])
            return off | (values < 0).any(-1), "must be probabilities that sum to 1"
        case "zero_sum":
            off = np.abs(values.sum(-1)) > CLOSE * (1 + np.abs(values).max(-1, initial=0))
            return np.asarray(off), "must sum to 0"
        case "ordered":
            steps = np.diff(values, axis=-1)
            falls = steps < 0 if closed else steps <= 0
            return np.asarray(falls.any(-1)), "must not decrease" if closed else "must be increasing"
        case "spd" | "correlation":
            bad = ~positive_definite(values)
            if domain == "correlation":
                bad |= (np.abs(np.diagonal(values, axis1=-2, axis2=-1) - 1) > CLOSE).any(-1)
                return bad, "must be a correlation matrix (positive definite, 1 on the diagonal)"
            return bad, "must be a symmetric positive definite matrix"
        case _:
            return np.zeros(values.shape[: values.ndim - rank] if rank else values.shape, bool), "must be real"


def positive_definite(values: Array) -> Array:
    """For each matrix (the last two axes): symmetric, finite, and with positive eigenvalues only."""
    if _plainly_definite(values):
        return np.ones(values.shape[:-2], bool)
    finite = np.asarray(np.isfinite(values).all((-2, -1)))
    safe = np.where(finite[..., None, None], values, 0.0)
    scale = np.abs(safe).max((-2, -1), initial=0)
    symmetric = np.abs(safe - np.swapaxes(safe, -1, -2)).max((-2, -1), initial=0) <= CLOSE * scale
    lowest = np.linalg.eigvalsh((safe + np.swapaxes(safe, -1, -2)) / 2).min(-1, initial=np.inf)
    return np.asarray(finite & symmetric & (lowest > 0))


def _plainly_definite(values: Array) -> bool:
    """Whether every matrix is exactly symmetric and Cholesky goes through without a small pivot: the common case."""
    if values.size <= FEW_NUMBERS:
        return all(_definite(m) for m in values.reshape(-1, *values.shape[-2:]).tolist())
    if not (values == values.swapaxes(-1, -2)).all():
        return False
    try:
        pivots = np.linalg.cholesky(values).diagonal(0, -2, -1)
    except np.linalg.LinAlgError:
        return False
    return bool((pivots * pivots > CLOSE * values.diagonal(0, -2, -1)).all())


def _definite(m: list[list[float]]) -> bool:
    """The same of one small matrix, which elimination overwrites: numpy would take longer to begin."""
    size, diagonal = range(len(m)), [row[i] for i, row in enumerate(m)]
    if any(m[i][j] != m[j][i] for i in size for j in range(i)):
        return False
    for i in size:
        if not CLOSE * diagonal[i] < m[i][i] < math.inf:
            return False
        for j in size[i + 1 :]:
            share = m[j][i] / m[i][i]
            for k in size[i + 1 :]:
                m[j][k] -= share * m[i][k]
    return True


def _plainly_inside(domain: str, values: Array) -> bool:
    """Whether a small array lies inside its domain, in Python's own numbers; False says nothing."""
    if not 0 < values.size <= FEW_NUMBERS:
        return False
    match domain:
        case "positive":
            return bool(min(values.ravel().tolist()) > 0)
        case "unit":
            numbers = values.ravel().tolist()
            return bool(min(numbers) > 0 and max(numbers) < 1)
        case "simplex":
            rows = values.reshape(-1, values.shape[-1]).tolist()
            return all(min(row) >= 0 and abs(sum(row) - 1) <= CLOSE for row in rows)
        case "spd":
            return _plainly_definite(values)
        case _:
            return False


def _whole_element(mask: Array, rank: int) -> Array:
    return np.asarray(mask.all(axis=tuple(range(mask.ndim - rank, mask.ndim))) if rank else mask)


def _bounds(variable: Mapping[str, Any]) -> tuple[Any, Any]:
    """The closed bounds of a variable: its domain's (of each element, where givens set them), and its family's
    support where that is fixed."""
    support, lower, upper = variable.get("support"), variable.get("lower"), variable.get("upper")
    if support is lower is upper is None and variable["domain"] != "count":
        return None, None
    low, high, _ = support or (None, None, "real")
    lows = [_bound(b) for b in (low, lower) if isinstance(b, (int, float, np.ndarray))]
    highs = [_bound(b) for b in (high, upper) if isinstance(b, (int, float, np.ndarray))]
    if variable["domain"] == "count":
        lows.append(0.0)
    return _tightest(np.maximum, lows), _tightest(np.minimum, highs)


def _tightest(of_two: Callable[[Any, Any], Any], ends: Sequence[Any]) -> Any:
    """The innermost of several ends, numbers and arrays."""
    out = None
    for end in ends:
        out = end if out is None else of_two(out, end)
    return out


def _bound(b: Any) -> Any:
    return b if np.ndim(b) else float(b)


def _check_levels(variable: Mapping[str, Any], values: Array, use: Array, levels: int | Array) -> None:
    """Categories and indices run from 0 to their number of levels, excluded."""
    name, size = variable["name"], variable["levels"]
    gap = "where nothing was seen the entry is missing (None, NaN, an empty cell), not -1"
    hint = gap if variable["kind"] == "observed" and values.size and values.min() == -1 else None
    refuse_where(name, use & (values < 0), values, f"must be {INTEGER_DOMAINS[variable['domain']]}, 0 or more", hint)
    if not isinstance(levels, int):
        refuse_where(name, use & (values >= levels), values, f"is past the end of its {size}")
        return
    one_based = bool(use.any()) and bool(values[use].min() == 1) and bool(values[use].max() == levels)
    hint = f"labels count from 0 here and these look as if they counted from 1: pass {name} - 1" if one_based else None
    refuse_where(
        name,
        use & (values >= levels),
        values,
        f"must be below {size}" + (f" = {levels}" if size != str(levels) else ""),
        hint,
    )


def checked_values(
    variable: Mapping[str, Any], column: Column, sizes: Mapping[str, int], use: Array | None, tops: Array | None
) -> Array:
    """The values as int64 or float64, 0 where missing, every one inside its domain and support.

    `use` marks the entries that the model reads (a plate's condition may leave some out), None for
    all; `tops` holds the number of positions for each entry of an index into a ragged plate.
    Raises DataError with the variable, the first bad value, its row and the count.
    """
    name, domain, rank = variable["name"], variable["domain"], len(variable["event"])
    low, high = _bounds(variable)
    whole = (variable.get("support") or (0, 0, "real"))[2] == "int"
    serves = variable.get("serves", ())
    if domain == "real" and column.missing is use is None and low is high is None and not whole and not serves:
        return real_numbers(name, column, variable["kind"] == "given")
    read = column.present if use is None else column.present & use
    if column.missing is not None or use is not None:
        column = Column(column.values, None if read.all() else ~read)
    if domain in INTEGER_DOMAINS:
        values = whole_numbers(name, column, INTEGER_DOMAINS[domain])
        if domain == "bool":
            other = read & ((values < 0) | (values > 1))
            refuse_where(name, other, values, "must be 0 or 1", other_codes(name, values[read]))
        elif domain in ("category", "index") and variable.get("levels") is not None:
            ragged = ragged_name(variable["levels"]) is not None or tops is not None
            if not ragged:
                _check_levels(variable, values, read, size_value(variable["levels"], sizes))
            elif tops is not None:
                _check_levels(variable, values, read, tops)
    else:
        values = real_numbers(name, column, variable["kind"] == "given")
        if values.size and domain != "real":
            bad, what = outside_domain(domain, values, rank, variable.get("closed", ()))
            _refuse_elements(name, bad, read, values, what, rank if bad.ndim < values.ndim else 0)
        if whole:
            refuse_where(name, read & (values != np.floor(values)), values, "must be whole")
        if use is not None and (variable["kind"] == "observed" or domain in ("real", "positive", "unit")):
            values = _as_those_read(values, use, read, rank)
    for wanted in serves:
        check_service(name, wanted, values, read)
    if low is not None:
        refuse_where(name, read & (values < low), values, f"must be {low:g} or more")
    if high is not None:
        refuse_where(name, read & (values > high), values, f"must be {high:g} or less")
    return values


def _as_those_read(values: Array, use: Array, read: Array, rank: int) -> Array:
    """Elements that a plate leaves out as the first that is read: reference points are means of a column."""
    axes = tuple(range(values.ndim - rank, values.ndim))
    whole = np.argwhere(read.all(axis=axes))
    first = values[tuple(whole[0])] if len(whole) else UNREAD
    return np.where(use, values, first)


def check_service(name: str, wanted: str, values: Array, read: Array) -> None:
    """What a family's argument must be, of a given that stands there alone under a wider domain."""
    if wanted == "count":
        refuse_where(name, read & ((values < 0) | (values != np.floor(values))), values, "must be whole, 0 or more")
    elif values.size:
        rank = {"simplex": 1, "spd": 2}.get(wanted, 0)
        bad, what = outside_domain(wanted, values, rank, BOTH_ENDS)
        _refuse_elements(name, bad, read, values, what, rank)


def with_ends(variable: Mapping[str, Any], limits: Mapping[str, Ends]) -> Mapping[str, Any]:
    """A record with the ends that givens set to its domain."""
    lower, upper = limits.get(variable["name"], (variable["lower"], variable["upper"]))
    return {**variable, "lower": lower, "upper": upper}


def check_limits(variable: Mapping[str, Any], ends: Ends, values: Array | None, mask: Array | None) -> None:
    """Ends that givens set: a value beyond its own is refused, and so are ends that leave a parameter no value, or a
    latent no interval."""
    name, (low, high) = variable["name"], ends
    wide = variable["kind"] == "latent" and variable["domain"] != "count"  # one point has no density
    if low is not None and high is not None:
        crossed = (np.greater_equal if wide else np.greater)(np.asarray(low), np.asarray(high))
        if crossed.any():
            at = tuple(np.argwhere(crossed)[0].tolist())
            a, b = (np.broadcast_to(end, crossed.shape)[at] for end in (low, high))
            where = f", in row {at[0]}" if at else ""
            text = f"{name}: its bounds leave nothing between them (min = {a:g}, max = {b:g}{where})"
            raise DataError(text, code="D005", row=at[0] if at else None)
    if values is None or not values.size:
        return
    use = np.ones(values.shape, bool) if mask is None else mask
    for end, out, word in ((low, np.less, "below its lower"), (high, np.greater, "above its upper")):
        if end is not None:
            refuse_where(name, use & out(values, np.asarray(end)), values, f"lies {word} bound")


def _refuse_elements(name: str, bad: Array, read: Array, values: Array, what: str, rank: int) -> None:
    """Elements seen only in part are not judged."""
    bad = bad & _whole_element(read, rank)
    if not bad.any():
        return
    if rank == 0:
        refuse_where(name, bad, values, what)
    first = tuple(int(i) for i in np.argwhere(bad)[0])
    count = int(bad.sum())
    raise DataError(
        f"{name}: each element {what}; {count} is not" + (f", the first in {place_words(first)}" if first else ""),
        code="D005",
        row=first[0] if first else 0,
    ).at(name, first)


def free_parameters(variable: Mapping[str, Any], sizes: Mapping[str, int]) -> int:
    """How many numbers a parameter holds that can move: its domain's dimension, times its elements."""
    event = [size_value(d, sizes) for d in variable["event"]]
    copies = math.prod(
        [size_value(size, sizes) for _, size, *_ in variable["plates"]]
        + [size_value(d, sizes) for d in variable["array"]]
    )
    match variable["domain"]:
        case "simplex" | "zero_sum":
            return copies * (event[-1] - 1)
        case "spd":
            return copies * event[-1] * (event[-1] + 1) // 2
        case "correlation":
            return copies * event[-1] * (event[-1] - 1) // 2
        case _:
            return copies * math.prod(event)


def on_boundary(variable: Mapping[str, Any], value: Array, spread: float = 1.0) -> bool:
    """Whether an estimate sits on the edge of its open domain: a probability of 0, a variance of 0.

    Of scales beside the data's `spread`, and of covariances beside their own variances: data may be in any unit.
    """
    value = np.asarray(value, float)
    if not value.size:
        return False
    match variable["domain"]:
        case "simplex" if value.shape[-1] > 1:
            return bool((value < EDGE).any())
        case "unit":
            return bool(((value < EDGE) | (value > 1 - EDGE)).any()) or _at_bounds(variable, value)
        case "positive":
            return bool((value < EDGE * EDGE * min(spread, 1.0) ** 2).any()) or _at_bounds(variable, value)
        case "ordered":
            return bool((np.diff(value, axis=-1) <= TIE * min(spread, 1.0)).any())
        case "spd" | "correlation":
            if value.size <= FEW_NUMBERS and value.shape[-1] <= 3 and _plainly_definite(value):
                least = (EDGE * EDGE * min(spread, 1.0)) ** 2  # pivots that far from 0 leave no eigenvalue near it
                return bool(value.diagonal(0, -2, -1).min() <= least)
            own = np.sqrt(np.maximum(value.diagonal(0, -2, -1), 0.0))
            if not np.isfinite(value).all() or (own <= EDGE * EDGE * min(spread, 1.0)).any():
                return True
            eigen = np.linalg.eigvalsh(value / own[..., :, None] / own[..., None, :])
            return bool((eigen[..., 0] <= EDGE * EDGE * eigen[..., -1]).any())
        case _:
            return _at_bounds(variable, value)


def _at_bounds(variable: Mapping[str, Any], value: Array) -> bool:
    low, high = _bounds(variable)
    if variable["domain"] == "positive" and np.all(low == 0):  # its own end, which is measured in units of the data
        low = None
    return bool(
        (low is not None and (value <= low + EDGE).any()) or (high is not None and (value >= high - EDGE).any())
    )


def parameter_numbers(name: str, value: Any) -> Array:
    """A value that was handed over for a parameter as float64, else DataError."""
    try:
        if converted(name, np.asarray, value).dtype.kind not in "fiubO":  # of which numpy makes numbers: "1", 1 + 2j
            raise TypeError
        return np.array(converted(name, np.array, value, np.float64))
    except DataError:
        raise
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{name}: its value must be real numbers, in rows of one length", code="D004") from None


def check_parameter(variable: Mapping[str, Any], value: Any, shape: Sequence[int]) -> Array:
    """A starting value as float64 of the declared shape and inside its domain, else DataError."""
    name = variable["name"]
    array = parameter_numbers(name, value)
    if array.shape != tuple(shape):
        axes = [*(p[1] for p in variable["plates"]), *variable["array"], *variable["event"]]
        other = {f"{n}={k}" for n, k, k0 in zip(axes, array.shape, shape, strict=False) if k > k0 and n.isidentifier()}
        hint = f"where the data show fewer, pass {', '.join(sorted(other))} (--size)" if other else None
        message = f"{name}: its value has shape {array.shape}, but is declared with shape {tuple(shape)}"
        raise DataError(message, hint=hint, code="D003")
    rank = len(variable["event"])
    if not plainly_finite(array):
        refuse_where(name, ~np.isfinite(array), array, "its value must be finite", code="D006")
    if variable["domain"] != "real" and not _plainly_inside(variable["domain"], array):
        bad, what = outside_domain(variable["domain"], array, rank, BOTH_ENDS)
        if bad.any():
            raise DataError(f"{name}: its value {what}", code="D005")
    low, high = _bounds(variable)
    if (low is not None and (array < low).any()) or (high is not None and (array > high).any()):
        ends = "those of its elements" if np.ndim(low) or np.ndim(high) else f"[{low}, {high}]"
        raise DataError(f"{name}: its value is outside its bounds {ends}", code="D005")
    return array
