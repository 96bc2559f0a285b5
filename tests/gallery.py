"""The gallery as tests use it: each model compiled once a process, its data as arrays, fits that run to the end."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import emdsl
from emdsl.report.derivation import Derivation

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "models"


@cache
def compiled(name: str) -> Any:
    """The compiled `models/<name>.em`."""
    return emdsl.compile(str(MODELS / f"{name}.em"))


@cache
def written(text: str) -> Any:
    """The compiled model of this text."""
    return emdsl.compile(text=text)


@cache
def told(name: str) -> Derivation:
    """The derivation of a gallery model, without the places of lines in its module."""
    return Derivation.of(compiled(name).derived)


@cache
def table(name: str) -> dict[str, np.ndarray]:
    """`models/data/<name>.csv`, a column an array; text columns stay text."""
    data = np.genfromtxt(MODELS / "data" / f"{name}.csv", delimiter=",", names=True, dtype=None, encoding="utf-8")
    return {column: data[column] for column in data.dtype.names}


def matrix(name: str, *columns: str) -> np.ndarray:
    """Columns of a table side by side, as floats."""
    return np.column_stack([table(name)[c] for c in columns]).astype(float)


def fit(name: str, data: dict[str, Any], *, weight: np.ndarray | None = None, **options: Any) -> Any:
    """A fit that runs until it stops moving, unless told otherwise."""
    estimator = compiled(name).fitter(**{"tol": 1e-13, "max_iter": 20_000, "seed": 0, **options})
    return estimator.fit(data, sample_weight=weight)
