"""Where a singular Gaussian has its mass: `MvNormal(mean, diag([0, q]))`, `MvNormal(mean, q * outer(G, G))`.

    x - mean  =  G e,   e ~ N(0, R),   R definite:    a density of L (x - mean) with L G = 1, and N (x - mean) = 0

The directions must be numbers, or those of one noise with a number in one place; how large the noise is may hold
anything. They are read off how the
covariance is written, and checked at numbers drawn for all that it holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emdsl.errors import DataError, ModelError, Problem
from emdsl.families.evaluate import evaluate
from emdsl.families.table import record
from emdsl.language import model as m
from emdsl.language.constants import value
from emdsl.language.transform import names_in

Array = NDArray[Any]
LEAST = 1e-12  # of a unit diagonal: an eigenvalue that is none
SOME = 3  # length of what has a length by name alone, when numbers are drawn
HINT = (
    "write the noise's direction with a number that is not 0 in one place (`q * outer([1, theta], [1, theta])`), "
    "or as numbers times a noise of its own, or give each entry a noise"
)


@dataclass(frozen=True)
class Support:
    """`along` are the rows of L, `across` those of N; `scales` are R's diagonal, or `cov` is R.

    `log_volume` is log det(G'G) / 2 - log det(N N') / 2: how much smaller a density on the support is than e's, where
    it is held by delta(N (x - mean)).
    """

    along: tuple[tuple[float | m.Expr, ...], ...]
    across: tuple[tuple[float | m.Expr, ...], ...]
    scales: tuple[m.Expr, ...] | None
    cov: m.Expr | None
    log_volume: float


@dataclass(frozen=True)
class Range:
    """A covariance as G R G', G (D, k) of numbers; R a diagonal where `scales` are known, else `cov`."""

    g: Array
    scales: tuple[m.Expr, ...] | None
    cov: m.Expr | None = None


def support_of(call: m.FamilyCall, model: m.ModelText) -> Support | None:
    """The support of a family whose covariance is singular at all values; None of any other.

    Raises ModelError where it is singular in directions that are no numbers.
    """
    known = record(call.family)
    cov = next((e for n, e in call.args if known is not None and n == known.singular), None)
    if cov is None or any(not isinstance(d, m.Dim) or d.constant is None for d in cov.shape):
        return None
    seen = [c for k in range(3) if (c := instance(cov, model, k)) is not None and np.isfinite(c).all()]
    if len(seen) < 3 or any(_indefinite(c) for c in seen) or min(map(_rank, seen)) == len(seen[0]):
        return None
    lets = {let.name: let for let in model.lets if not let.plates}
    turned = _turned(cov, lets, model)
    if turned is not None:
        return turned
    found = _range(cov, lets, model)
    if found is None or found.g.shape[1] > min(map(_rank, seen)):  # `[[q, 2*q], [2*q, 4*q]]` has two rows, one noise
        basis = np.linalg.qr(_eigenvectors(np.sum(seen, axis=0))[0])[0]
        found = Range(basis, None, _within(cov, basis))
    g = found.g
    whole = _units(np.sum(seen, axis=0))
    across = _complement(g / whole[:, None]) / whole
    across /= np.sqrt((across**2).sum(1, keepdims=True))
    for c in seen:
        unit = _units(c)
        off = np.abs(across @ c) / np.outer(np.abs(across) @ unit + 1e-300, unit)
        if _rank(c) != g.shape[1] or off.max(initial=0) > 1e-9:
            text = f"{call.family.name}'s `{known.singular if known else ''}` is singular, in directions that depend on"
            raise ModelError(Problem("E113", f"{text} {_unknowns(cov, lets, model)}", cov.span, HINT))
    along = np.linalg.pinv(g)
    volume = 0.5 * (np.linalg.slogdet(g.T @ g)[1] - np.linalg.slogdet(across @ across.T)[1])
    return Support(_rows(along), _rows(across), found.scales, found.cov, float(volume))


def _turned(cov: m.Expr, lets: Mapping[str, m.Let], model: m.ModelText) -> Support | None:
    """`q * outer(G, G)` where G holds parameters and, at some p, a number: with u = x - mean,

    u_p / G_p ~ N(0, q),    u_j - u_p G_j / G_p = 0 for all other j
    """
    scale: tuple[m.Expr, ...] = ()
    factors = [cov]
    while isinstance(factors[-1], m.Var) and factors[-1].name in lets:
        factors[-1] = lets[factors[-1].name].body
    if isinstance(product := factors[-1], m.Call) and product.fn == "mul" and any(not a.shape for a in product.args):
        scale = tuple(a for a in product.args if not a.shape)
        factors = [a for a in product.args if a.shape]
    outer = factors[-1]
    if not isinstance(outer, m.Call) or outer.fn != "outer" or outer.args[0] != outer.args[1]:
        return None
    g = outer.args[0]
    while isinstance(g, m.Var) and g.name in lets:
        g = lets[g.name].body
    if not isinstance(g, m.Stack) or _numbers(g, model) is not None:
        return None
    numbers = [value(e) for e in g.items]
    p = next((i for i, v in enumerate(numbers) if v), None)
    if p is None or (first := numbers[p]) is None:
        return None

    def part(e: m.Expr) -> m.Expr:
        off: m.Expr = m.Call("neg", (e,), (), e.span)
        return off if first == 1 else m.Call("div", (off, m.Num(first, e.span)), (), e.span)

    unit = np.eye(len(numbers)).tolist()
    across = tuple(
        tuple(part(e) if i == p else unit[j][i] for i in range(len(numbers))) for j, e in enumerate(g.items) if j != p
    )
    along = tuple(v / first for v in unit[p])
    return Support((along,), across, scale or (m.Num(1, cov.span),), None, float(np.log(abs(first))))


def _unknowns(cov: m.Expr, lets: Mapping[str, m.Let], model: m.ModelText) -> str:
    """The parameters and givens that a covariance holds, directly or through lets."""
    waiting, held = list(names_in(cov)), set[str]()
    while waiting:
        name = waiting.pop()
        if name in lets and name not in held:
            waiting += names_in(lets[name].body)
        held.add(name)
    found = [v.name for v in model.variables if v.name in held and v.kind in ("param", "given")]
    return f"what is estimated or given: {', '.join(found)}" if found else "what is estimated or given"


def _rows(a: Array) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(v) for v in row) for row in a)


def _indefinite(c: Array) -> bool:
    """Whether a matrix is no covariance: what it holds was drawn where the model has no density."""
    unit = _units(c)
    return bool(np.linalg.eigvalsh(c / np.outer(unit, unit))[0] < -1e-9)


def _rank(c: Array) -> int:
    """How many numbers a covariance has noise for, in its own units."""
    unit = _units(c)
    return int((np.linalg.eigvalsh(c / np.outer(unit, unit)) > LEAST).sum())


def _complement(g: Array) -> Array:
    """Orthonormal rows across the columns of G; unit vectors where G leaves out whole entries."""
    d, k = g.shape
    held = np.flatnonzero((g != 0).any(1))
    free = np.eye(d)[np.setdiff1d(np.arange(d), held)]
    if len(held) == k:
        return free
    inside = np.linalg.svd(g[held])[0][:, k:].T
    rows = np.zeros((len(inside), d))
    rows[:, held] = inside
    return np.concatenate([free, rows])


def _units(c: Array) -> Array:
    """The standard deviation of each number, 1 where it has none."""
    unit = np.sqrt(np.maximum(c.diagonal(), 0.0))
    return np.where(unit > 0, unit, 1.0)


def _eigenvectors(c: Array) -> tuple[Array, Array]:
    """G and a diagonal R of a covariance of numbers: eigenvectors of the correlations, in units."""
    unit = _units(c)
    values, vectors = np.linalg.eigh(c / np.outer(unit, unit))
    kept = values > LEAST
    return unit[:, None] * vectors[:, kept], values[kept]


# ---------------------------------------------------------------- how it is written


def _range(e: m.Expr, lets: Mapping[str, m.Let], model: m.ModelText) -> Range | None:
    """G and R by how a matrix is written; None where that does not tell."""
    match e:
        case m.Var(name) if name in lets:
            return _range(lets[name].body, lets, model)
        case m.Call("diag", (entries,)):
            while isinstance(entries, m.Var) and entries.name in lets:
                entries = lets[entries.name].body
            return _axes(entries.items) if isinstance(entries, m.Stack) else None
        case m.Call("mul", (a, b)) if not a.shape or not b.shape:
            return _scaled(e, a if a.shape else b, lets, model)
        case m.Call("div", (a, b)) if not b.shape:
            return _scaled(e, a, lets, model)
        case m.Call("outer", (a, b)) if a == b and (g := _numbers(a, model)) is not None:
            return Range(g[:, None], (m.Num(1, e.span),)) if g.any() else Range(np.zeros((len(g), 0)), ())
        case m.Call("matmul", (m.Call("matmul", (left, middle)), m.Call("transpose", (right,)))) if left == right:
            return _between(_numbers(left, model), middle, lets, model)
        case m.Call("add", (a, b)):
            return _sum(_range(a, lets, model), _range(b, lets, model))
    c = _numbers(e, model)
    return _of_entries(e) if c is None else _of_numbers(c, e)


def _scaled(e: m.Call, matrix: m.Expr, lets: Mapping[str, m.Let], model: m.ModelText) -> Range | None:
    """A matrix times or over a number, which may be 0."""
    if (c := _numbers(e, model)) is not None:
        return _of_numbers(c, e)
    inner = _range(matrix, lets, model)
    if inner is None:
        return None

    def scaled(part: m.Expr) -> m.Expr:
        return replace(e, args=tuple(part if a is matrix else a for a in e.args), shape=part.shape)

    diagonal = None if inner.scales is None else tuple(map(scaled, inner.scales))
    return Range(inner.g, diagonal, None if inner.cov is None else scaled(inner.cov))


def _of_numbers(c: Array, e: m.Expr) -> Range:
    """A matrix of numbers, by its eigenvectors."""
    if not np.count_nonzero(c - np.diag(c.diagonal())):
        return _axes([m.Num(float(v), e.span) for v in c.diagonal()])
    g, values = _eigenvectors(c)
    return Range(g, tuple(m.Num(float(v), e.span) for v in values))


def _of_entries(e: m.Expr) -> Range | None:
    """A literal matrix of which some rows, and their columns, are 0."""
    rows = [row.items for row in e.items if isinstance(row, m.Stack)] if isinstance(e, m.Stack) else []
    at = [i for i, row in enumerate(rows) if any(value(v) != 0 for v in row)]
    if not rows:
        return None
    g, size = np.eye(len(rows))[:, at], m.Dim.of(len(at))
    if all(value(rows[i][j]) == 0 for i in at for j in at if i != j):
        return Range(g, tuple(rows[i][i] for i in at))
    inner = tuple(m.Stack(tuple(rows[i][j] for j in at), (size,), e.span) for i in at)
    return Range(g, None, m.Stack(inner, (size, size), e.span))


def _axes(entries: Sequence[m.Expr]) -> Range:
    at = [i for i, v in enumerate(entries) if value(v) != 0]
    return Range(np.eye(len(entries))[:, at], tuple(entries[i] for i in at))


def _between(g: Array | None, middle: m.Expr, lets: Mapping[str, m.Let], model: m.ModelText) -> Range | None:
    """G M G' of numbers G: of M's own range, where M is singular itself."""
    if g is None:
        return None
    inner = _range(middle, lets, model) or Range(np.eye(g.shape[1]), None, middle)
    whole = g @ inner.g
    return Range(whole, inner.scales, inner.cov) if np.linalg.matrix_rank(whole) == whole.shape[1] else None


def _sum(a: Range | None, b: Range | None) -> Range | None:
    """Noises along directions that are independent, or the same."""
    if a is None or b is None or a.scales is None or b.scales is None:
        return None
    if np.array_equal(a.g, b.g):
        both = zip(a.scales, b.scales, strict=True)
        return Range(a.g, tuple(m.Call("add", pair, (), pair[0].span) for pair in both))
    g = np.concatenate([a.g, b.g], axis=1)
    return Range(g, (*a.scales, *b.scales)) if np.linalg.matrix_rank(g) == g.shape[1] else None


def literal(a: Array, like: m.Expr) -> m.Expr:
    """A matrix of numbers as an expression."""
    n, k = (m.Dim.of(size) for size in a.shape)
    rows = tuple(m.Stack(tuple(m.Num(float(v), like.span) for v in row), (k,), like.span) for row in a)
    return m.Stack(rows, (n, k), like.span)


def _within(cov: m.Expr, basis: Array) -> m.Expr:
    """B' cov B as an expression."""
    k = m.Dim.of(basis.shape[1])
    left = m.Call("matmul", (literal(basis.T, cov), cov), (k, cov.shape[1]), cov.span)
    return m.Call("matmul", (left, literal(basis, cov)), (k, k), cov.span)


# ---------------------------------------------------------------- numbers for what a covariance holds


def _numbers(e: m.Expr, model: m.ModelText) -> Array | None:
    """The value of an expression of numbers alone."""
    return None if _read(e, model) or any(isinstance(n, m.Loop) for n in m.walk(e)) else instance(e, model, 0)


def _read(e: m.Expr, model: m.ModelText) -> dict[str, m.Variable]:
    """The variables that an expression reads, through lets."""
    lets, variables = {let.name: let for let in model.lets}, {v.name: v for v in model.variables}
    out: dict[str, m.Variable] = {}
    stack, seen = [e], set[str]()
    while stack:
        for node in m.walk(stack.pop()):
            if isinstance(node, m.Var) and node.name in lets and node.name not in seen:
                seen.add(node.name)
                stack.append(lets[node.name].body)
            elif isinstance(node, m.Var) and node.name in variables:
                out[node.name] = variables[node.name]
    return out


def instance(e: m.Expr, model: m.ModelText, seed: int) -> Array | None:
    """The value of an expression at numbers drawn for what it reads; None where it has none."""
    rng = np.random.default_rng(seed)
    read = _read(e, model)
    if any(v.kind in ("latent", "observed") and not v.domain.discrete for v in read.values()):
        return None
    sizes = {s.name: SOME for s in model.sizes}
    try:
        values = {n: _drawn(v, sizes, rng) for n, v in read.items()}
        loops = {n.name: 1 for n in m.walk(e) if isinstance(n, m.Loop)}
        found = evaluate(e, values, sizes, loops=loops, lets={let.name: let for let in model.lets})
    except (DataError, KeyError, ValueError, IndexError, AttributeError):
        return None  # its lengths are not known here
    return np.asarray(found, float)


def _drawn(v: m.Variable, sizes: Mapping[str, int], rng: np.random.Generator) -> Array:
    """Some value of a variable, inside its domain."""
    shape = tuple(d.value(sizes) for d in v.shape if isinstance(d, m.Dim))
    if len(shape) < len(v.shape):
        raise ValueError("ragged")
    match v.domain.kind:
        case "positive":
            out = np.exp(0.3 * rng.standard_normal(shape))
        case "unit":
            out = rng.uniform(0.1, 0.9, shape)
        case "spd" | "correlation":
            factor = rng.standard_normal(shape)
            out = factor @ factor.swapaxes(-1, -2) + np.eye(shape[-1])
            unit = np.sqrt(np.diagonal(out, axis1=-2, axis2=-1))
            out = out / (unit[..., None] * unit[..., None, :]) if v.domain.kind == "correlation" else out
        case "simplex":
            out = rng.uniform(0.5, 1.0, shape)
            out = out / out.sum(-1, keepdims=True)
        case "real":
            out = rng.standard_normal(shape)
        case _:
            out = np.zeros(shape)
    return _inside(np.asarray(out, float), v.domain, rng)


def _inside(out: Array, domain: m.Domain, rng: np.random.Generator) -> Array:
    """Values between a domain's own bounds, where these are numbers."""
    low, high = (None if bound is None else value(bound) for bound in (domain.lower, domain.upper))
    if low is not None and high is not None:
        return low + (high - low) * rng.uniform(0.1, 0.9, out.shape)
    if low is not None:
        return low + np.exp(0.3 * rng.standard_normal(out.shape))
    return out if high is None else high - np.exp(0.3 * rng.standard_normal(out.shape))
