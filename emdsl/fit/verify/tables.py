"""Every row of the log joint as a table over its own cells: a polynomial of degree two in those that are Gaussian."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from emdsl.families.scope import Array
from emdsl.fit.verify.layout import Known, Layout

STEP = 1e-20  # of the complex step


@dataclass(slots=True)  # as `Scope`: a frozen one takes longer to make, and each value of Q makes as many as rows
class Table:
    """One row: f(z, h) = a[z] + b[z] h + h' A[z] h / 2, h from the centre of the stencil. It stays as it was made."""

    discrete: tuple[int, ...]
    gaussian: tuple[int, ...]
    a: Array
    b: Array
    A: Array


def tables(layout: Layout, params: Mapping[str, Array], near: Known | None = None) -> list[Table]:
    """Every row as a table of its own cells, at these parameters."""
    values = layout.known(params, near).values
    together: dict[int, list[int]] = {}  # rows that are shown by the same calls
    for r, plan in enumerate(layout.rows):
        together.setdefault(id(plan.calls), []).append(r)
    out: list[Any] = [None] * len(layout.rows)
    for rows in together.values():
        unit = layout.unit[np.array([layout.rows[r].gaussian for r in rows], int)]
        a, b, A = _polynomials(values[:, rows][layout.rows[rows[0]].calls], unit)
        for k, r in enumerate(rows):
            out[r] = Table(layout.rows[r].discrete, layout.rows[r].gaussian, a[:, k], b[:, k], A[:, k])
    return out


def _polynomials(f: Array, unit: Array) -> tuple[Array, Array, Array]:
    """a (Z, R), b (Z, R, m), A (Z, R, m, m) of polynomials in m numbers from f (Z, stencil points, R).

    unit : (R, m), the steps of the stencil.
    """
    a, m = f[:, 0].copy(), unit.shape[1]
    with np.errstate(invalid="ignore"):
        up, down = (np.moveaxis(f[:, k : k + m], 1, -1) for k in (1, 1 + m))
        b, A = (up - down) / 2, np.zeros((*a.shape, m, m))
        for i in range(m):
            A[..., i, i] = up[..., i] + down[..., i] - 2 * a
        for n, (i, j) in enumerate(combinations(range(m), 2)):
            A[..., i, j] = A[..., j, i] = f[:, 1 + 2 * m + n] - up[..., i] - up[..., j] + a
        b, A = b / unit, A / (unit[:, :, None] * unit[:, None, :])
    lost = ~np.isfinite(a)
    a[lost], b[lost], A[lost] = -np.inf, 0.0, 0.0
    return a, b, A


def add(f: Table, g: Table) -> Table:
    """f + i STEP g; where f is impossible g does not matter."""
    gone = np.isneginf(f.a)
    more = np.where(gone, 0.0, np.maximum(g.a, -1e250))
    a = f.a + 1j * STEP * more
    a[gone] = -np.inf
    keep = ~gone[:, None]
    b, A = f.b + 1j * STEP * g.b * keep, f.A + 1j * STEP * g.A * keep[..., None]
    return Table(f.discrete, f.gaussian, a, b, A)


def integrated(t: Table, gone: frozenset[int]) -> Table:
    """The table when some of its Gaussian cells are integrated out, which no other table reads."""
    at = np.array([k in gone for k in t.gaussian], bool)
    if not at.any():
        return t
    to = np.linalg.inv(-t.A[:, at][:, :, at])
    b, across = t.b[:, at], t.A[:, ~at][:, :, at]
    size = np.linalg.slogdet(to)[1] + at.sum() * np.log(2 * np.pi)
    along = np.einsum("zij,zj->zi", to, b)
    kept = tuple(k for k in t.gaussian if k not in gone)
    return Table(
        t.discrete,
        kept,
        t.a + (np.einsum("zi,zi->z", b, along) + size) / 2,
        t.b[:, ~at] + np.einsum("zij,zj->zi", across, along),
        t.A[:, ~at][:, :, ~at] + across @ to @ np.swapaxes(across, 1, 2),
    )


def value_at(t: Table, at: Array, h: Array, layout: Layout) -> float:
    shape = [len(layout.nodes[d]) for d in t.discrete]
    z = int(np.ravel_multi_index([at[d] for d in t.discrete], shape)) if shape else 0
    mine = h[list(t.gaussian)]
    return float(t.a[z] + t.b[z] @ mine + mine @ t.A[z] @ mine / 2)


def tops(table: Table) -> Array:
    """(values,): the most that a row can be whatever its Gaussian cells are; at their centre where there is no most."""
    if not table.gaussian:
        return table.a
    curve, along = np.linalg.eigh(-table.A)
    slope = np.einsum("zij,zi->zj", along, table.b) ** 2
    rounding = 1e-15 * np.abs(table.a)[:, None]  # far out, differences are no more than that
    flat = curve <= np.maximum(1e-9 * np.abs(curve).max(axis=1, keepdims=True, initial=1e-300), 1e3 * rounding)
    curve = np.where(flat, 1.0, curve)
    gain = np.where(flat | (slope * rounding > 1e-2 * curve**2), 0.0, slope / (2 * curve))
    return np.asarray(table.a + gain.sum(axis=1))
