"""Distributions with branches: which family each row has, and what the families are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, assert_never

import numpy as np

from emdsl.families.evaluate import rows_of
from emdsl.families.scope import Array, Scope, Uneven, length, scatter, split_rows
from emdsl.families.table import record
from emdsl.language.model import Branch, Dist, FamilyCall


def split_leaves(dist: Dist, s: Scope, leaf: Any) -> Array:
    """leaf(call, rows) for each row's own family, put back in order."""
    match dist:
        case FamilyCall():
            return by_length(s, lambda part: leaf(dist, part))
        case Branch(cond, then, other):
            c = rows_of(cond, s)
            return split_rows(c, s, lambda p: split_leaves(then, p, leaf), lambda p: split_leaves(other, p, leaf))
        case _:
            assert_never(dist)


def by_length(s: Scope, score: Any) -> Array:
    """score(rows), in groups of equal ragged length where one array is needed per group."""
    try:
        return np.asarray(score(s))
    except Uneven as uneven:
        n = np.broadcast_to(length(uneven.size, s), (s.count,))
        groups = [np.flatnonzero(n == v) for v in np.unique(n)]
        return scatter(groups, [by_length(s.take(g), score) for g in groups], s.count)


def leaves(dist: Dist) -> Iterable[FamilyCall]:
    match dist:
        case FamilyCall():
            yield dist
        case Branch(_, then, other):
            yield from leaves(then)
            yield from leaves(other)
        case _:
            assert_never(dist)


def has_atom(dist: Dist) -> bool:
    found = [record(call.family) for call in leaves(dist)]
    return any(r is not None and r.atom for r in found)


def is_density(call: FamilyCall) -> bool:
    """Continuous: no single value has mass."""
    found = record(call.family)
    return not call.family.x.domain.discrete and not (found is not None and found.atom)
