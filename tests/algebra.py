"""Values of indexed expressions by loops over their indices: what a derivation says, computed as it is written.

Slow and plain on purpose. Nothing here is shared with the code that prints modules.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
from scipy import special

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import DataIx, Expr, Ix
from emdsl.language.model import Dim, ModelText
from emdsl.runtime.numeric import tails

At = Mapping[Ix, int]

# fmt: off
FUNCTIONS: dict[str, Callable[..., float]] = {
    "log": lambda a: math.log(a) if a > 0 else -math.inf if a == 0 else math.nan,
    "exp": lambda a: float(np.exp(a)), "sin": math.sin, "cos": math.cos, "tanh": math.tanh, "abs": abs,
    "lgamma": special.gammaln, "digamma": special.digamma, "trigamma": lambda a: special.polygamma(1, a),
    "polygamma": special.polygamma, "atan2": math.atan2,
    "log1p": math.log1p, "softplus": lambda a: float(np.logaddexp(0, a)), "logistic": special.expit,
    "logit": special.logit, "sign": np.sign, "Phi": special.ndtr, "log_Phi": special.log_ndtr,
    "phi": lambda a: math.exp(-a * a / 2) / math.sqrt(2 * math.pi),
    "pi": lambda: math.pi, "value": lambda a: a, "whole": lambda a: a,
    "min": min, "max": max, "floordiv": lambda a, b: a // b, "mod": lambda a, b: a % b,
    "log1mexp": lambda a: math.log(-math.expm1(a)), "log_rest": lambda a: math.log(-math.expm1(a)),
    "exp_odds": lambda a: 1 / math.expm1(-a), "log_mass": math.log,
    "log_between": lambda a, b: math.log(special.ndtr(b) - special.ndtr(a)),
    "log_inside": lambda below_low, below_high, *_: math.log(below_high - below_low),
    "log_bessel_i0": lambda a: math.log(special.ive(0, a)) + abs(a),
    "bessel_ratio": lambda a: special.ive(1, a) / special.ive(0, a),
    "eq": lambda a, b: float(a == b), "ne": lambda a, b: float(a != b), "lt": lambda a, b: float(a < b),
    "le": lambda a, b: float(a <= b), "gt": lambda a, b: float(a > b), "ge": lambda a, b: float(a >= b),
    "and": lambda a, b: float(bool(a) and bool(b)), "or": lambda a, b: float(bool(a) or bool(b)),
    "not": lambda a: float(not a),
    "gamma_cdf": special.gammainc, "gamma_sf": special.gammaincc, "beta_cdf": special.betainc,
    "student_cdf": special.stdtr,
    **{n: getattr(tails, n) for n in ("gamma_cdf_a", "gamma_cdf_a2", "beta_cdf_a", "beta_cdf_a2", "beta_cdf_ab")},
    "student_cdf_df": tails.student_cdf_df, "student_cdf_df2": tails.student_cdf_df2,
}
# fmt: on


@dataclass
class World:
    """What every name stands for: arrays, or functions of indices; and how long each dimension is."""

    lengths: dict[str, int]
    arrays: dict[str, Any]
    inverses: dict[Any, Any] = field(default_factory=dict)  # of matrices, whose elements are asked for one by one

    def put(self, name: str, array: Any) -> None:
        """Give a name another value."""
        self.arrays[name] = array
        self.inverses.clear()

    def over(self, ixs: Sequence[Ix], at: At) -> Iterator[At]:
        """Every setting of these indices, beside those that are set."""
        if len(ixs) == 1:
            yield from ({**at, ixs[0]: k} for k in range(self.lengths[ixs[0].dim]))
            return
        for values in product(*(range(self.lengths[i.dim]) for i in ixs)):
            yield {**at, **dict(zip(ixs, values, strict=True))}

    def product(self, factors: Sequence[Expr], at: At) -> float:
        """Zero as soon as a factor is: what stands behind a selector need not exist where it is 0."""
        out = 1.0
        for f in factors:
            out *= self.value(f, at)
            if out == 0:
                return 0.0
        return out

    def total(self, coef: Any, factors: Sequence[Expr], ixs: Sequence[Ix], at: At | None = None) -> float:
        """coef * sum over ixs of the product of factors."""
        turned = _in_turn(tuple(factors))
        return float(coef) * sum(self.product(turned, here) for here in self.over(ixs, at or {}))

    def index(self, i: x.Idx, at: At) -> int:
        match i:
            case Ix():
                return at[i]
            case int():
                return i
            case DataIx(value):
                return int(self.value(value, at))

    def element(self, e: x.El, at: At) -> float:
        array = self.arrays[e.var if e.var in self.arrays else e.var.removeprefix("raw:")]  # data as they stand
        for n, i in enumerate(e.idx):
            if isinstance(i, DataIx) and isinstance(i.value, x.Fn) and i.value.name == "any":  # summed out
                (size,) = i.value.args
                levels = range(int(self.value(size, at)))
                return sum(self.element(x.El(e.var, (*e.idx[:n], k, *e.idx[n + 1 :])), at) for k in levels)
        idx = tuple(self.index(i, at) for i in e.idx)
        if callable(array):
            return float(array(*idx))
        if (idx and min(idx) < 0) or len(idx) != np.ndim(array):
            raise IndexError(f"{e.var}{idx}: the array is {np.shape(array)}")
        return float(array[idx])

    def matrix(self, e: x.MatInv | x.LogDet, at: At) -> Any:
        n = self.lengths[e.i.dim]
        return np.array([[self.value(e.body, {**at, e.i: i, e.j: j}) for j in range(n)] for i in range(n)])

    def value(self, e: Expr, at: At) -> float:
        match e:  # the commonest first
            case x.El():
                return self.element(e, at)
            case x.Num(v):
                return float(v)
            case x.Mul(factors):
                return self.product(_in_turn(factors), at)
            case x.Sum(ix, body):
                return sum(self.value(body, here) for here in self.over((ix,), at))
            case x.Pow(base, exponent):
                return float(np.float64(self.value(base, at)) ** self.value(exponent, at))  # 1/0 is inf
            case x.Add(terms):
                return sum(self.value(t, at) for t in terms)
            case x.Fn(name, args):
                return float(FUNCTIONS[name](*(self.value(a, at) for a in args)))
            case x.Sel(of, k):
                return float(self.value(of, at) == self.index(k, at))
            case x.Val(ix):
                return float(at[ix])
            case x.SizeN(dim):
                return float(self.lengths[dim])
            case x.Delta(a, b):
                return float(self.index(a, at) == self.index(b, at))
            case x.MatInv():
                whole = x.LogDet(e.i, e.j, e.body)
                key = (whole, *(at[i] for i in x.free(whole)))
                if key not in self.inverses:
                    self.inverses[key] = np.linalg.inv(self.matrix(e, at))
                return float(self.inverses[key][self.index(e.at[0], at), self.index(e.at[1], at)])
            case x.LogDet():
                return float(np.linalg.slogdet(self.matrix(e, at))[1])
            case x.Where(cond, then, other):
                return self.value(then if self.value(cond, at) else other, at)
            case x.Choose(k, options):
                return self.value(options[self.index(k, at)], at)
        raise AssertionError(type(e))


@lru_cache(maxsize=10_000)
def _in_turn(factors: tuple[Expr, ...]) -> tuple[Expr, ...]:
    """The factors of a product in the order in which they are evaluated."""
    return tuple(sorted(factors, key=_turn))


def _turn(f: Expr) -> int:
    """Probabilities and presence first, then conditions, selectors, and what may not exist where these are 0."""
    if any(n.startswith(("present:", "q:", "S:", "pair:", "clique", "first")) for n in x.variables(f)):
        return 0
    if isinstance(f, x.Delta) or (isinstance(f, x.Fn) and f.name in x.COMPARISONS):
        return 1
    return 2 if isinstance(f, x.Sel) else 3


def dimensions(model: ModelText, sizes: Mapping[str, int], lengths: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """The length of every dimension that a derivation of this model can name."""

    class Table(dict[str, int]):
        def __missing__(self, dim: str) -> int:
            return int(dim)

    out = Table(sizes)
    for v in (*model.variables, *model.lets):
        out.update({str(d): d.value(sizes) for d in v.shape if isinstance(d, Dim)})
    for v in model.variables:
        if v.domain.kind == "count" and isinstance(v.domain.levels, Dim):
            out[str(v.domain.levels)] = v.domain.levels.value(sizes)
    for name, each in lengths.items():
        out[f"{name}[]"], out[f"{name}[max]"] = int(sum(each)), int(max(each))
    return out


def rows(name: str, lengths: Sequence[int]) -> dict[str, Any]:
    """Of a ragged plate: each row's parent, position; where each parent's start, how many; one each."""
    each = np.asarray(lengths)
    return {
        f"row:{name}": np.repeat(np.arange(len(each)), each),
        f"position:{name}": np.concatenate([np.arange(n) for n in each]),
        f"start:{name}": np.cumsum(each) - each,
        f"length:{name}": each,
        f"count:{name}": np.ones(int(each.sum())),
    }
