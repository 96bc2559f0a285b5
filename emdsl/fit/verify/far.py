"""Whether a step went further than a maximum at a finite place is likely to lie."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from emdsl.families.scope import Array
from emdsl.fit.verify.setting import Drawn
from emdsl.language.model import ModelText, Variable

FAR, FACTOR = 10.0, 100.0  # a step of a number on the line, and of its distance to an end, that is too far


class Derived(Protocol):
    """A model with its derivation."""

    @property
    def resolved(self) -> ModelText: ...
    @property
    def derived(self) -> Any: ...


def far_out(model: Derived, drawn: Drawn, step: Mapping[str, Array], every: bool = False) -> bool:
    """Whether a climbed parameter, or `every`, went further than a maximum at a finite place is likely to lie."""
    climbed = {n for u in model.derived.updates if u.kind in ("newton", "gradient") for n in u.params}
    for v in model.resolved.of_kind("param"):
        if v.name not in climbed and (not every or v.domain.kind == "ordered"):
            continue
        before, after = (np.asarray(a, float) for a in (drawn.setting.params[v.name], step[v.name]))
        pairs = zip(_from_ends(v, before), _from_ends(v, after), strict=True)
        if not all(((now <= FACTOR * was) & (was <= FACTOR * now)).all() for was, now in pairs):
            return True
        if v.domain.unbounded and not (np.abs(after - before) <= FAR * (1 + np.abs(before))).all():
            return True
    return False


def _from_ends(v: Variable, value: Array) -> list[Array]:
    """How far a value is from each end of its domain: numbers in order may be one, a covariance singular."""
    if v.domain.kind == "spd":
        return [np.linalg.eigvalsh(value)]
    if v.domain.kind == "ordered":
        return [np.diff(value, axis=-1)]
    return [np.abs(value - end) for end in v.domain.ends if math.isfinite(end)] if v.domain.interval else []
