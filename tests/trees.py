"""What equations in a derivation's JSON are worth: their trees, walked with numbers for names and statistics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np
import scipy.special as sc

FUNCTIONS = {
    "atan2": np.arctan2,
    "exp": np.exp,
    "log": np.log,
    "log1p": np.log1p,
    "Gamma": sc.gamma,
    "digamma": sc.digamma,
    "trigamma": lambda a: sc.polygamma(1, a),
    "logistic": sc.expit,
    "Phi": sc.ndtr,
    "phi": lambda a: np.exp(-(a**2) / 2) / np.sqrt(2 * np.pi),
    "softplus": lambda a: np.logaddexp(0, a),
}
Tree = Mapping[str, Any]


def value(t: Tree, at: Mapping[str, Any]) -> Any:
    """What a tree is worth: numbers, columns and matrices. `at` has names, sizes and indices among them, statistics
    with S before, and under `letters` what stands for what is long."""
    match t["kind"]:
        case "number":
            return float(t["text"])
        case "word":
            return {"const": 0.0, "pi": np.pi}[t["text"]]
        case "name" | "statistic" if _meant(t, at):
            return value(at["letters"][called(t)][1], at)
        case "name":
            return column(at[t["text"]])
        case "statistic":
            return column(at[called(t)])
        case "at" if _meant(t["base"], at):
            places, meant = at["letters"][called(t["base"])]
            own = {p: value(i, at) for p, i in zip(places, t["places"], strict=True)}
            return value(meant, {**at, **own})
        case "at":
            held = at[called(t["base"])]
            return column(held[tuple(int(value(p, at)) for p in t["places"])])
        case "plus":
            return sum(-value(e, at) if minus else value(e, at) for minus, e in t["terms"])
        case "times":
            found: Any = 1.0
            for e in t["factors"]:
                v = value(e, at)
                found = column(found @ v) if np.size(found) > 1 and np.size(v) > 1 else found * v
            return found
        case "over":
            return value(t["top"], at) / value(t["bottom"], at)
        case "root":
            return np.sqrt(value(t["body"], at))
        case "raised" if t["exponent"] == {"kind": "word", "text": "T"}:
            return np.transpose(value(t["base"], at))
        case "raised":
            return value(t["base"], at) ** value(t["exponent"], at)
        case "apply" if t["function"] == {"kind": "word", "text": "q"}:  # q(z[n] = k)
            event = t["arguments"][0]
            return at["q"][int(value(event["left"]["places"][0], at)), int(value(event["right"], at))]
        case "apply":
            return FUNCTIONS[t["function"]["text"]](*(value(e, at) for e in t["arguments"]))
        case "bracket":
            compare = {"=": np.equal, "!=": np.not_equal, ">": np.greater}[t["body"]["op"]]
            return float(compare(value(t["body"]["left"], at), value(t["body"]["right"], at)))
        case "big":
            names = [i["text"] for i, _ in t["indices"]]
            spans = [range(int(at[n["text"]]) if n["kind"] == "name" else int(n["text"])) for _, n in t["indices"]]
            return sum(value(t["body"], {**at, **dict(zip(names, p, strict=True))}) for p in product(*spans))
    raise AssertionError(t["kind"])


def called(t: Tree) -> str:
    return ("S " if t["kind"] == "statistic" else "") + t["text"]


def defined(t: Tree) -> tuple[str, tuple[list[str], Any]]:
    """What stands on the left, its indices, and what it is: of two equations in a line the first."""
    right = t["right"]["left"] if t["right"]["kind"] == "relation" else t["right"]
    return t["left"].get("base", t["left"]).get("text", ""), ([p["text"] for p in t["left"].get("places", ())], right)


def _meant(t: Tree, at: Mapping[str, Any]) -> bool:
    return "text" in t and called(t) in at.get("letters", {})


def column(a: Any) -> Any:
    """A vector as a column; what has one element as a number."""
    a = np.asarray(a, float)
    return a.item() if a.size == 1 else a[:, None] if a.ndim == 1 else a


def free(t: Tree, at: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """The indices of an equation that no sum binds, with their lengths as the arrays have them."""
    bound = {i["text"] for p in nodes(t) if p["kind"] == "big" for i, _ in p["indices"]}
    for p in nodes(t):
        if p["kind"] == "at" and not _meant(p["base"], at):
            for place, length in zip(p["places"], np.shape(at[called(p["base"])]), strict=False):
                if place["kind"] == "name" and place["text"] not in bound:
                    yield place["text"], length


def nodes(t: Any) -> Iterator[Tree]:
    if isinstance(t, Mapping):
        yield t
    for part in t.values() if isinstance(t, Mapping) else t if isinstance(t, list) else ():
        yield from nodes(part)
