"""Printing the posterior of jointly Gaussian latents: precision, covariance, mean, what elimination leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from emdsl.derive import expr as x
from emdsl.derive.block import Block
from emdsl.derive.expr import El, Expr, Ix
from emdsl.derive.gaussian import covariance_axes, linear_role, quadratic_role
from emdsl.derive.terms import Term
from emdsl.generate.arrays import Array, Leaf
from emdsl.generate.chains import add_up
from emdsl.generate.context import Function


def emit_gaussian(f: Function, block: Block) -> Array:
    """The moments of a block, and its log-normaliser over gates and plates."""
    em, g, name = f.emitter, block.gaussian, block.name
    assert g is not None
    held = covariance_axes(block)
    em.comment(f"the precision and the mean of {', '.join(block.latents)}, jointly Gaussian; their log-normaliser")
    cov, log_det = (em.namer.fresh(f"{part}_{name}") for part in ("cov", "log_det"))
    inner = em.chunk is not None and any(i.dim == em.chunk for i in held)
    scope = em.lines if inner else em.outer
    counts = ", ".join(str(len(g.rows[n])) for n in block.latents)
    rows = [i for i in held if i in block.home]
    shape = f"({len(held) - len(rows)}, [{counts}], {len(rows)})"
    before = len(em.lines)
    quadratic = [
        [_quadratic(f, block, a, b, held) for b in block.latents[k:]] for k, a in enumerate(block.latents)
    ]  # fmt: skip
    if not inner:
        em.outer += em.lines[before:]
        del em.lines[before:]
    nested = ", ".join("[" + ", ".join(row) + "]" for row in quadratic)
    scope.append(f"{cov}, {log_det} = gaussian_covariance([{nested}], {shape})")
    mean, log_z = (em.namer.fresh(f"{part}_{name}") for part in ("mean", "log_z"))
    linear = ", ".join(_linear(f, block, n) for n in block.latents)
    shape = f"({len(block.gates)}, [{counts}], {len(block.home)})"
    em.lines.append(f"{mean}, {log_z} = gaussian_mean({cov}, {log_det}, [{linear}], {shape})")
    _keep(f, block, held, cov, mean, inner)
    return Array(log_z, (*block.gates, *block.home), True)


def _quadratic(f: Function, block: Block, a: str, b: str, held: Sequence[Ix]) -> str:
    """Code of what multiplies the products of two latents' atoms, (gates, rows, columns, home)."""
    g = block.gaussian
    assert g is not None
    gates, home = [i for i in held if i not in block.home], [i for i in held if i in block.home]
    axes, own = (*gates, *g.rows[a], *g.columns[b], *home), (*block.gates, *block.home)
    mine = [
        replace(t, ixs=tuple(i for i in t.ixs if i in axes or i not in own))  # one term serves all states of a gate
        for t, role in zip(block.terms, block.roles, strict=True)
        if role == quadratic_role(a, b)
    ]
    if a == b and block.conditions(a):
        mine.append(absent_precision(block.conditions(a), g.rows[a], g.columns[a], axes))
    return f.emitter.broadcast(add_up(f, mine, axes), axes).code if mine else "0.0"


def absent_precision(exists: Sequence[Expr], rows: Sequence[Ix], columns: Sequence[Ix], axes: Sequence[Ix]) -> Term:
    """The precision 2 pi, and so no normaliser, of elements that a filtered plate leaves out."""
    diagonal = (x.delta(i, j) for i, j in zip(rows, columns, strict=True))
    return Term(-1, (), (x.fn("pi"), x.add(x.ONE, x.neg(x.mul(*exists))), *diagonal), tuple(axes))


def _linear(f: Function, block: Block, a: str) -> str:
    """Code of what multiplies a latent's atoms, (gates, rows, home)."""
    g = block.gaussian
    assert g is not None
    axes = (*block.gates, *g.rows[a], *block.home)
    mine = [t for t, role in zip(block.terms, block.roles, strict=True) if role == linear_role(a)]
    return f.emitter.broadcast(add_up(f, mine, axes), axes).code


def _keep(f: Function, block: Block, held: Sequence[Ix], cov: str, mean: str, inner: bool) -> None:
    """Where the moments are stored: own axes before plates."""
    g, chunk = block.gaussian, f.emitter.chunk
    assert g is not None
    cut = chunk is not None and any(i.dim == chunk for i in block.home)
    gates, home = [i for i in held if i not in block.home], [i for i in held if i in block.home]
    for k, a in enumerate(block.latents):
        own, idx = (*block.gates, *g.rows[a], *block.home), (*block.gates, *block.home, *g.rows[a])
        f.runtime[f"mean:{a}"] = Leaf(f"{mean}[{k}]", tuple(idx.index(i) for i in own), True, cut=cut)
        for m, b in enumerate(block.latents[k:], k):
            stored, places = (*gates, *g.rows[a], *g.columns[b], *home), (*held, *g.rows[a], *g.columns[b])
            f.runtime[f"cov:{a}:{b}"] = Leaf(
                f"{cov}[{k}][{m - k}]", tuple(places.index(i) for i in stored), inner, cut=cut and bool(home)
            )


def gaussian_fields(f: Function, block: Block, latent: str) -> list[tuple[str, Array]]:
    """Mean and covariance (of a number its mean square) of a latent, over q of the gates."""
    em, g = f.emitter, block.gaussian
    assert g is not None
    rows, columns = g.rows[latent], g.columns[latent]
    own = (*block.gates, *block.home)
    gates = [El(f"q:{block.name}", own)] if block.gates else []
    first = El(f"mean:{latent}", (*own, *rows))
    mean = em.broadcast(em.contract([first, *gates], (*rows, *block.home)), (*rows, *block.home))
    second = El(f"mean:{latent}", (*own, *columns))
    cov = El(f"cov:{latent}:{latent}", (*covariance_axes(block), *rows, *columns))
    axes = (*rows, *columns, *block.home)
    if not rows:
        parts = [em.contract([first, first, *gates], axes), em.contract([cov, *gates], axes)]
        return [("id", mean), ("square", em.broadcast(em.sum(parts), axes))]
    if not gates:
        return [("id", mean), ("cov", em.broadcast(em.contract([cov], _carried(f, cov, axes)), axes))]
    parts = [em.contract([first, second, *gates], axes), em.contract([cov, *gates], axes)]
    return [("id", mean), ("outer", em.broadcast(em.sum(parts), axes))]


def _carried(f: Function, e: El, axes: Sequence[Ix]) -> tuple[Ix, ...]:
    held = f.emitter.value(e).axes
    return tuple(i for i in axes if i in held)
