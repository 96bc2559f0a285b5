"""How much a fitted model draws, and beside which givens: those of its fit, or the ones that are handed over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from emdsl.runtime.data.binding import Bound, Spec, outer_plates
from emdsl.runtime.data.faults import DataError
from emdsl.runtime.data.sizes import ragged_name


def sizes_and_givens(
    spec: Spec, sizes: Mapping[str, int], bound: Bound | None, n: Any, data: Any, rng: np.random.Generator
) -> tuple[dict[str, Any], Mapping[str, Any] | None]:
    """Sizes, lengths of ragged plates, and the givens, for `n` elements of the outermost plate.

    n None : as many as were fitted. data None : the givens of the fit, which stand for as many elements as it had.
    Raises DataError where they are not n, and where n is no count or data are no dict.
    """
    if n is not None and (isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 0):
        raise DataError(f"n must be a whole number, 0 or more, not {n!r}", code="D016")
    if data is not None and not isinstance(data, Mapping):
        raise DataError(f"data must be a dict of arrays by name, not {type(data).__name__}", code="D016")
    plates = outer_plates(spec)
    given = {v["name"]: [p[1] for p in v["plates"]] for v in spec["variables"] if v["kind"] == "given"}
    held: Mapping[str, Any] = {} if bound is None else {k: v for k, v in bound.values.items() if k in given}
    ours = data is None
    beside: Mapping[str, Any] = held if data is None else data
    out: dict[str, Any] = dict(sizes)
    if n is not None and plates:
        name = next((k for k in held if plates[0] in given[k]), None)
        if ours and name is not None and n != sizes.get(plates[0]):
            raise DataError(
                f"{name}: the fit has it for {plates[0]} = {sizes.get(plates[0])} elements, not for {n}",
                hint=f"leave n out, or pass the givens of {n} elements: data={{{name!r}: ...}}",
                code="D052",
            )
        out[plates[0]] = int(n)
    told = {ragged_name(plate) for k in beside for plate in given.get(k, ())}
    for name, ragged in (bound.ragged if bound is not None else {}).items():
        if n is None or (ours and name in told):
            out[name] = ragged.lengths
        elif name not in told:
            out[name] = rng.choice(ragged.lengths, int(n))
    if ours and bound is not None and n is None:
        return out, bound.values  # observed ones, too: splits have the totals of the data
    return out, None if ours and bound is None else beside
