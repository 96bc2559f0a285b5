"""What is known of missing entries on which nothing depends: their likelihood leaves them out, a user asks for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from emdsl.fit.gaps import unseen
from emdsl.runtime.data.binding import Bound
from emdsl.runtime.fitting.answers import DISCRETE

Array = np.ndarray[Any, np.dtype[Any]]


def left_out(variables: Iterable[Mapping[str, Any]], bound: Bound, known: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The observed variables that have missing entries and no posterior of their own."""
    return [
        v for v in variables
        if v["kind"] == "observed" and not v.get("data_of") and v["name"] not in known
        and (mask := bound.masks.get(v["name"])) is not None and not np.all(mask)
    ]  # fmt: skip


def entries(variable: Mapping[str, Any], bound: Bound, posterior: Mapping[str, Any]) -> Any:
    """The posterior of a variable by that of its unseen copy: of entries that were seen, their values.

    Given the latents the copy is independent of what was seen, and so are missing entries. None where the copy has no
    exact moments.
    """
    name = variable["name"]
    copy, values, mask = posterior.get(unseen(name)), bound.values[name], np.asarray(bound.masks[name])
    if copy is None:
        return None
    if not isinstance(copy, Mapping):
        if variable["domain"] not in DISCRETE:
            return None
        levels = np.arange(copy.shape[-1])
        return np.where(mask[..., None], values[..., None] == levels, copy)
    if "mean" not in copy:
        return None
    told: dict[str, Array] = {"mean": np.where(mask, values, copy["mean"])}
    if "var" in copy:
        told["var"] = np.where(mask, 0.0, copy["var"])
    elif "cov" in copy:
        told["cov"] = np.where(mask[..., None] | mask[..., None, :], 0.0, copy["cov"])
    return told
