"""Codings of labels that may not be what their user means: told, not refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from emdsl.runtime.data.columns import UNSEEN, Array
from emdsl.runtime.data.faults import say


def other_codes(name: str, values: Array) -> str | None:
    """A hint for two values that are other codes of no and yes."""
    codes = {(1, 2): f"{name} - 1", (-1, 1): f"({name} + 1) // 2", (0, 255): f"{name} > 0"}
    seen = tuple(sorted(set(values[:1000].tolist())))
    return f"these look like other codes of no and yes: pass {codes[seen]}" if seen in codes else None


def advise(
    spec: Mapping[str, Any],
    values: Mapping[str, Array],
    masks: Mapping[str, Any],
    labels: Mapping[str, list[str]],
    sizes: Mapping[str, int],
) -> None:
    """Warns of labels that look as if they counted from 1: every one from 1 on is there, and 0, of no row, is not; of
    numbers that look like names (101, 102, ...); and of text that looks as if it said that nothing was seen."""
    held = {p[1] for v in spec["variables"] if v["name"] in values for p in v["plates"]}  # whose elements have data
    for v in spec["variables"]:
        a, mask = values.get(v["name"]), masks.get(v["name"])
        if v["domain"] not in ("category", "index") or v["kind"] == "param" or a is None:
            continue
        name, texts = v.get("data_of", v["name"]), labels.get(v["name"]) or labels.get(str(v["levels"]), [])
        for text in texts:
            if text.lower() in UNSEEN:
                told = f"{name}: {text!r} is a label like the others; leave empty what was not seen"
                say(told)
        seen = a.ravel() if mask is None else a[np.asarray(mask)]
        if texts or not seen.size or v["levels"] is None or v["levels"].isdigit():  # there the last one was refused
            continue
        if seen.min() == 1 < seen.max() and np.bincount(seen.astype(int))[1:].all():
            text = f"{name} holds no 0: labels count from 0, and where it counts from 1 it is {name} - 1 that is meant"
            say(text)
        least, top, many = int(seen.min()), int(seen.max()), len(np.unique(seen))
        if least > 1 and 2 * many <= top and sizes.get(v["levels"]) == top + 1 and v["levels"] not in held:
            text = f"{name} holds {many} labels from {least} to {top}: numbers are positions, of which all others have"
            say(f"{text} no row; as text ({name}.astype(str), or s{top} for {top} in a file) they are names")
