"""Whether a family can be drawn from with the arguments that a model gives it, row by row.

What the language and a parameter's own domain leave open (`var = a + b*x` at some x) shows here first: numpy draws NaN
from a negative variance, and does not say in which row.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emdsl.errors import DataError, Problem
from emdsl.families.density import density_scope, limits
from emdsl.families.kernels_vector import semidefinite
from emdsl.families.scope import Array, Scope
from emdsl.language.model import Argument, FamilyCall, Variable
from emdsl.runtime.data.columns import place_words
from emdsl.runtime.data.domains import BOTH_ENDS, outside_domain

ROUNDING = 8 * float(np.finfo(float).eps)  # of a sum of some shares, which may come out so far above 1


def checked(v: Variable, call: FamilyCall, args: Sequence[Array], event: tuple[int, ...], s: Scope) -> list[Array]:
    """Arguments of one family for rows of v, as `arrange` returns them; what rounding put past an end is at it.

    The ends of a domain belong to it, as an estimate may lie there: a variance of 0, a covariance that is singular.
    `event` are the axes of one variate. Raises DataError D055 with the argument, its value and the row.
    """
    wanted = call.family.signatures[call.signature].arguments
    return [_checked(v, call, argument, args, k, event, s) for k, argument in enumerate(wanted[: len(args)])]


def _checked(
    v: Variable, call: FamilyCall, argument: Argument, args: Sequence[Array], k: int, event: tuple[int, ...], s: Scope
) -> Array:
    domain, value = argument.domain, args[k]
    rank = len(domain.dims)
    if domain.symmetric:
        bad, what = ~semidefinite(value), "must be a symmetric positive semidefinite matrix"
    elif domain.structured:
        bad, what = outside_domain(domain.kind, value.astype(float), rank, BOTH_ENDS)
    else:
        scope, batch = density_scope(
            call.family, call.signature, np.broadcast_to(0.0, (1, *event)), list(args), s.sizes
        )
        ends = (np.broadcast_to(end, int(np.prod(batch))) for end in limits(domain, scope))
        low, high = (end.reshape(*batch, *(1,) * rank) for end in ends)
        value = np.where((value < low) & (value >= low - ROUNDING * np.abs(low)), low, value)
        value = np.where((value > high) & (value <= high + ROUNDING * np.abs(high)), high, value)
        bad = ~((value >= low) & (value <= high))
        if domain.discrete:
            bad |= np.floor(value) != value
        if bad.any():
            first = np.unravel_index(int(np.flatnonzero(bad)[0]), bad.shape)
            a, b = (np.broadcast_to(end, bad.shape)[first] for end in (low, high))
            what = _between(a, b) + (", and whole" if domain.discrete else "")
    if not bad.any():
        return np.asarray(value)
    first = np.unravel_index(int(np.flatnonzero(bad)[0]), bad.shape)
    entry = np.broadcast_to(value, (*bad.shape, *value.shape[bad.ndim :]))[first]
    shown = f"it is {entry.item():g}" if np.ndim(entry) == 0 else f"it is {np.array2string(entry, threshold=9)}"
    lost = np.broadcast_to(bad.reshape(len(bad), -1).any(1), s.count)
    text = f"`{v.name}`: {call.family.name}'s `{argument.name}` {what}; {shown} {_where(v, lost, s)}"
    raise DataError(Problem("D055", text, dict(call.args)[argument.name].span))


def _between(low: float, high: float) -> str:
    if np.isinf(high):
        return "must be a number" if np.isinf(low) else f"must be {low:g} or more"
    return f"must be {high:g} or less" if np.isinf(low) else f"must lie between {low:g} and {high:g}"


def finite(v: Variable, call: FamilyCall, value: Array, s: Scope) -> Array:
    """What was drawn. Raises DataError D055 where it is no number: a rate of 0 has no draws, nor a mean without end."""
    lost = np.asarray(~np.isfinite(value.reshape(len(value), -1)).all(1))
    if lost.any():
        text = f"`{v.name}`: a draw of {call.family.name} with these arguments is not finite {_where(v, lost, s)}"
        raise DataError(Problem("D055", text, call.span))
    return value


def _where(v: Variable, lost: Array, s: Scope) -> str:
    """In which row that is, the first of how many."""
    row = int(np.flatnonzero(lost)[0])
    place = [int(np.broadcast_to(s.loops[p.index], (s.count,))[row]) for p in v.plates]
    many = int(lost.sum())
    return f"in {place_words(place)}" + (f", the first of {many} rows" if many > 1 else "") if place else "there"
