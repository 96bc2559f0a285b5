"""The data of a fit with rows ahead on its ordered plates: a forecast is the posterior of rows that nobody has seen.

p(h_T+1, ..., h_T+s | x_1, ..., x_T)  =  the posterior of a sequence whose last s rows lack their observations
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from emdsl.runtime.data.arguments import by_name
from emdsl.runtime.data.binding import Bound, Defaults, Spec
from emdsl.runtime.data.columns import Array, read_column, refuse_where
from emdsl.runtime.data.domains import checked_values
from emdsl.runtime.data.faults import DataError
from emdsl.runtime.data.plates import Ragged, Record, ragged_rows
from emdsl.runtime.data.sizes import parse_size, ragged_name

FEW = 100_000  # steps ahead, at most


def ordered_plates(spec: Spec) -> dict[str, list[str]]:
    """Ordered plates, along which densities read what came before, with the variables that are read there."""
    found: dict[str, list[str]] = spec.get("steps", {})
    if not found:
        raise NotImplementedError(f"{spec['model']} cannot forecast: it has no ordered plate")
    return found


def ahead(spec: Spec, bound: Bound, steps: int, givens: Mapping[str, Any], defaults: Defaults) -> Bound:
    """The data with `steps` rows more at the end of every sequence: nothing observed there, givens as passed.

    Raises DataError where the steps are no whole number, a given is needed and not passed, or passed and not needed;
    where a parameter has a value for each row.
    """
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or not 1 <= steps <= FEW:
        raise DataError(f"steps: must be a whole number from 1 to {FEW}, not {steps!r}", code="D014")
    givens = by_name(givens, "givens")
    plates = ordered_plates(spec)
    _refuse_unknown(spec, plates)
    long = {n: _longer(r, steps) for n, r in bound.ragged.items() if n in plates}
    sizes = {n: s + steps if n in plates and n not in bound.ragged else s for n, s in bound.sizes.items()}
    variables = {v["name"]: v for v in spec["variables"] if v["kind"] in ("observed", "given")}
    later = [n for n, v in variables.items() if v["kind"] == "given" and _axis(v, plates) is not None]
    for name in givens:
        if name not in later:
            what = "no given" if name not in variables else "not a given on an ordered plate, so it is known already"
            raise DataError(f"givens: {name} is {what}", code="D002")
    values, masks = dict(bound.values), dict(bound.masks)
    for name, v in variables.items():
        at = _axis(v, plates)
        if at is None:
            continue
        grown = _grower(v, bound, at, steps)
        if v["kind"] == "observed":
            mask = bound.masks.get(name)
            seen = np.ones(bound.values[name].shape, bool) if mask is None else mask
            values[name], masks[name] = grown(bound.values[name], None), grown(seen, None)
        elif name in givens:
            values[name] = grown(bound.values[name], _passed(v, givens[name], bound, at, steps))
        elif v["default"] and _at_default(name, bound, defaults):
            del values[name]
        else:
            raise DataError(
                f"forecast: {name} is a given that the rows ahead need",
                hint=f"givens={{{name!r}: the next {steps} of each sequence}}",
                code="D002",
            )
    now = {n: a for n, a in values.items() if variables[n]["kind"] == "given"}
    values |= {n: np.asarray(a) for n, a in defaults(sizes, now).items() if n not in values}
    return Bound(sizes, values, masks, None, None, {**bound.ragged, **long}, bound.labels)


def _at_default(name: str, bound: Bound, defaults: Defaults) -> bool:
    """Whether a given has the values that the model gives it where the data have none."""
    usual = defaults(dict(bound.sizes), {n: a for n, a in bound.values.items() if n != name})
    return np.array_equal(np.asarray(usual[name]), bound.values[name])


def last_rows(v: Record, value: Any, bound: Bound, steps: int, plates: Mapping[str, Any]) -> Any:
    """The rows ahead of a posterior's array, (*plates, steps, own); of ragged sequences (sequences, steps, own)."""
    if isinstance(value, Mapping):
        return {n: last_rows(v, a, bound, steps, plates) for n, a in value.items()}
    at, name = _where(v, plates)
    array = np.asarray(value)
    if name in bound.ragged:
        r = bound.ragged[name]
        rows = (r.start + r.lengths)[:, None] - steps + np.arange(steps)
        return np.take(array, rows, axis=0)
    return np.take(array, range(array.shape[at] - steps, array.shape[at]), axis=at)


def _where(v: Record, plates: Mapping[str, Any]) -> tuple[int, str]:
    """Which axis of a variable's arrays is the ordered plate, and its name; rows of ragged plates are one axis."""
    at = -1
    for p in v["plates"]:
        name = ragged_name(p[1])
        at = 0 if name is not None else at + 1
        if (name or p[1]) in plates:
            return at, name or p[1]
    return -1, ""


def _axis(v: Record, plates: Mapping[str, Any]) -> int | None:
    at, name = _where(v, plates)
    return at if name else None


def _refuse_unknown(spec: Spec, plates: Mapping[str, list[str]]) -> None:
    """What cannot be known ahead: parameters by row, plates that grow with the ordered one."""
    for v in spec["variables"]:
        names = {n for size in (*v["array"], *v["event"]) for key in parse_size(size) for n in key}
        held = {ragged_name(p[1]) or p[1] for p in v["plates"]}
        if names & set(plates) or (v["kind"] == "param" and held & set(plates)):
            text = f"{v['name']} has an entry for each element of an ordered plate, of which there are none ahead"
            raise DataError(f"forecast: {text}", code="D014")
        plain = [p[1] for p in v["plates"] if ragged_name(p[1]) is None]
        compound = {n for size in plain for key in parse_size(size) for n in key} - held
        if compound & set(plates) or sum((ragged_name(p[1]) or p[1]) in plates for p in v["plates"]) > 1:
            raise DataError(f"forecast: {v['name']} lies on a plate that grows with another", code="D014")
        deep = [n for p in v["plates"] if (n := ragged_name(p[1])) is not None]
        if any(n in plates for n in deep[:-1]):
            text = f"{v['name']} lies inside the ordered plate {deep[0]}, whose rows ahead have no lengths"
            raise DataError(f"forecast: {text}", code="D014")


def only_last(v: Record, seen: Array, bound: Bound, plates: Mapping[str, Any]) -> bool:
    """Whether what is missing of a variable are whole rows at the end of its sequences."""
    at, name = _where(v, plates)
    if not name:
        return False
    rows = np.moveaxis(seen, at, 0).reshape(seen.shape[at], -1)
    ends = np.cumsum(bound.ragged[name].lengths)[:-1] if name in bound.ragged else np.zeros(0, np.int64)
    parts = np.split(rows, ends)
    return not any((part & np.logical_or.accumulate(~part.all(1))[:, None]).any() for part in parts)


def unknown_ahead(spec: Spec) -> str | None:
    """An observed variable that later rows read: its rows ahead cannot be left out of their densities."""
    plates = set(ordered_plates(spec))
    for v in spec["variables"]:
        held = {ragged_name(p[1]) or p[1] for p in v["plates"]}
        if v["kind"] == "observed" and v["missing"] not in ("drop", "cells") and held & plates:
            return str(v["name"])
    return None


def _longer(r: Ragged, steps: int) -> Ragged:
    return ragged_rows(r.lengths + steps)


def _innermost(v: Record, bound: Bound) -> str | None:
    """The ragged plate whose rows a variable's arrays have, the innermost of them; None where all plates are even."""
    found = [n for p in v["plates"] if (n := ragged_name(p[1])) is not None and n in bound.ragged]
    return found[-1] if found else None


def _grower(v: Record, bound: Bound, at: int, steps: int) -> Callable[[Array, Array | None], Array]:
    """A function that puts rows at the end of every sequence of one variable; zeros where there are none."""
    name = _innermost(v, bound)

    def grown(old: Array, new: Array | None) -> Array:
        if name is None or at > 0:
            shape = (*old.shape[:at], steps, *old.shape[at + 1 :])
            return np.concatenate([old, np.zeros(shape, old.dtype) if new is None else new], axis=at)
        r = bound.ragged[name]
        if new is None:
            new = np.zeros((len(r.lengths), steps, *old.shape[1:]), old.dtype)
        where = np.repeat(r.start + r.lengths, steps)
        return np.insert(old, where, new.reshape(-1, *old.shape[1:]), axis=0)

    return grown


def _passed(v: Record, value: Any, bound: Bound, at: int, steps: int) -> Array:
    """The values of a given in the rows ahead, checked as data of a fit are."""
    name, old = v["name"], bound.values[v["name"]]
    ragged = _innermost(v, bound) if at == 0 else None
    column = read_column(name, value)
    shape = (*old.shape[:at], steps, *old.shape[at + 1 :])
    if ragged is not None:
        shape = (len(bound.ragged[ragged].lengths), steps, *old.shape[1:])
    coding = name if name in bound.labels else v.get("levels")
    if column.text and coding in bound.labels:
        code = {label: i for i, label in enumerate(bound.labels[coding])}
        unseen = np.array([x not in code for x in column.values.ravel()], bool).reshape(column.values.shape)
        refuse_where(name, unseen, column.values, "has labels that were not seen in the fit", code="D008")
        coded = [code[x] for x in column.values.ravel()]
        column = column._replace(values=np.array(coded, np.int64).reshape(column.values.shape))
    if column.text or column.values.shape != shape:
        text = f"has shape {column.values.shape}, but the rows ahead need {shape}"
        raise DataError(f"givens: {name} {text}", code="D003")
    refuse_where(name, ~column.present, column.values, "may not be missing", code="D009")
    return np.asarray(checked_values(v, column, bound.sizes, None, None))
