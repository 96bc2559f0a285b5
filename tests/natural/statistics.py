"""The statistics that posteriors are recognised by: named functions T(x) of one element."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from emdsl.families.functions import inv
from emdsl.families.records import Array, Function


def _logdet(x: Array) -> Array:
    return np.asarray(np.linalg.slogdet(x)[1])


def _outer(x: Array) -> Array:
    return np.asarray(x[..., :, None] * x[..., None, :])


def _onehot(x: Array) -> Array:
    """Over as many levels as x shows."""
    return np.eye(int(np.max(x, initial=0)) + 1)[x]


# Each takes x as batch + the element's own axes and returns batch + the statistic's own axes.
STATISTICS: Mapping[str, Function] = {
    "id": lambda x: x,
    "square": np.square,
    "cube": lambda x: x**3,
    "fourth": lambda x: x**4,
    "exp": np.exp,
    "exp_neg": lambda x: np.exp(-x),
    "log": np.log,
    "log_square": lambda x: np.log(x) ** 2,
    "recip": lambda x: 1 / x,
    "recip_square": lambda x: 1 / x**2,
    "log1m": lambda x: np.log1p(-x),
    "cos": np.cos,
    "sin": np.sin,
    "onehot": _onehot,
    "outer": _outer,
    "inv": lambda x: inv(x, 2),
    "logdet": _logdet,
}
