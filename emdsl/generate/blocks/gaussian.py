"""Printing the posterior of jointly Gaussian latents: precision, covariance, mean, what elimination leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Ix
from emdsl.derive.algebra.made import COV, FIT, MEAN, OFF, PATTERN, Q, made_of
from emdsl.derive.joint.terms import Term
from emdsl.derive.posteriors.averages import average
from emdsl.derive.posteriors.block import Block
from emdsl.derive.posteriors.gaussian_moments import covariance_axes, pattern_index, pattern_of
from emdsl.derive.posteriors.roles import by_role, linear_in, quadratic_in
from emdsl.generate.blocks.chains import add_up
from emdsl.generate.context import Function
from emdsl.generate.lines.arrays import Array, Leaf
from emdsl.generate.lines.spelling import Binding


def emit_gaussian(f: Function, block: Block) -> Array:
    """The moments of a block, and its log-normaliser over gates and plates."""
    em, g, name = f.emitter, block.gaussian, block.name
    assert g is not None
    if block.by_pattern:
        return emit_clamped(f, block)
    held = covariance_axes(block)
    em.comment(f"the precision and the mean of {', '.join(block.latents)}, jointly Gaussian; their log-normaliser")
    cov, log_det = (em.namer.fresh(f"{part}_{name}") for part in ("cov", "log_det"))
    nested, shape, inner = precision_code(f, block, held)
    with f.part(block, "precision", "moments"):
        scope = em.lines if inner else em.outer
        scope.append(f"{cov}, {log_det} = gaussian_covariance([{nested}], {shape})")
    mean, log_z = (em.namer.fresh(f"{part}_{name}") for part in ("mean", "log_z"))
    linear, shape = _linear_terms(f, block)
    with f.part(block, "linear", "moments", "normaliser"):
        em.lines.append(f"{mean}, {log_z} = gaussian_mean({cov}, {log_det}, [{linear}], {shape})")
    _keep(f, block, held, cov, mean, inner)
    return Array(log_z, (*block.gates, *block.home), True)


def emit_clamped(f: Function, block: Block) -> Array:
    """The moments of a block of which some numbers are data, and its log-normaliser over gates and plates."""
    em, g, name = f.emitter, block.gaussian, block.name
    assert g is not None
    held = covariance_axes(block)
    cov, root, whole = (em.namer.fresh(f"{part}_{name}") for part in ("cov", "root", "precision"))
    em.comment(f"{', '.join(block.latents)}: what is missing given what was seen, by pattern; their log-normaliser")
    nested, shape, inner = precision_code(f, block, tuple(i for i in held if i != pattern_index(block)))
    which = em.broadcast(em.value(El(PATTERN.of(name), block.home)), block.home).code
    free = f'prepared["the patterns of {name}"]'
    if any(i in block.home for i in held):  # a precision of its own for each element
        free, which = f"{free}[np.ravel({which})]", "None"
    with f.part(block, "precision", "moments"):
        scope = em.lines if inner else em.outer
        scope.append(f"{cov}, {root}, {whole} = clamped_covariance([{nested}], {shape}, {free})")
    mean, fit, norm = (em.namer.fresh(f"{part}_{name}") for part in ("mean", "fit", "log_norm"))
    linear, shape = _linear_terms(f, block)
    values = ", ".join(_value(f, block, n) if n in g.seen else "None" for n in block.latents)
    with f.part(block, "linear", "moments", "normaliser"):
        em.lines.append(f"{mean}, {fit}, {norm} = clamped_mean(")
        em.lines.append(f"    {root}, {whole}, [{linear}], [{values}], {free}, {which}, {shape}")
        em.lines.append(")")
    _keep(f, block, held, cov, mean, inner)
    axes = (*block.gates, *block.home)
    cut = em.chunk is not None and any(i.dim == em.chunk for i in block.home)
    f.runtime[FIT.of(name)] = Leaf(fit, tuple(range(len(axes))), True, cut=cut)
    if block.scale is not None:
        return Array(norm, axes, True)
    log_z = em.name(f"log_z_{name}", Array(f"0.5 * {fit} + {norm}", axes, True, binds=Binding.SUM))
    return Array(log_z.code, axes, True)


def _value(f: Function, block: Block, a: str) -> str:
    """Code of the data of a latent, 0 where missing, (rows, home)."""
    g = block.gaussian
    assert g is not None
    axes = (*g.rows[a], *block.home)
    return f.emitter.broadcast(f.emitter.value(El(a, (*block.home, *g.rows[a]))), axes).code


def precision_code(f: Function, block: Block, held: Sequence[Ix]) -> tuple[str, str, bool]:
    """Code of the quadratic terms and of their shape; whether they stand inside the loop over chunks."""
    em, g = f.emitter, block.gaussian
    assert g is not None
    inner = em.chunk is not None and any(i.dim == em.chunk for i in held)
    rows = [i for i in held if i in block.home]
    counts = ", ".join(str(len(g.rows[n])) for n in block.latents)
    before = len(em.lines)
    with f.part(block, "precision"):
        terms = by_role(block.terms, block.roles)
        quadratic = [
            [_quadratic(f, block, a, b, held, terms.get(quadratic_in(a, b), [])) for b in block.latents[k:]]
            for k, a in enumerate(block.latents)
        ]
    if not inner:
        em.outer += em.lines[before:]
        del em.lines[before:]
    nested = ", ".join("[" + ", ".join(row) + "]" for row in quadratic)
    return nested, f"({len(held) - len(rows)}, [{counts}], {len(rows)})", inner


def _linear_terms(f: Function, block: Block) -> tuple[str, str]:
    """Code of the linear terms and of their shape."""
    g = block.gaussian
    assert g is not None
    counts = ", ".join(str(len(g.rows[n])) for n in block.latents)
    shape = f"({len(block.gates)}, [{counts}], {len(block.home)})"
    with f.part(block, "linear"):
        return ", ".join(_linear(f, block, n) for n in block.latents), shape


def _quadratic(f: Function, block: Block, a: str, b: str, held: Sequence[Ix], terms: Sequence[Term]) -> str:
    """Code of what multiplies the products of two latents' atoms, (gates, rows, columns, home)."""
    g = block.gaussian
    assert g is not None
    gates, home = [i for i in held if i not in block.home], [i for i in held if i in block.home]
    axes, own = (*gates, *g.rows[a], *g.columns[b], *home), (*block.gates, *block.home)
    mine = [
        replace(t, ixs=tuple(i for i in t.ixs if i in axes or i not in own))  # one term serves all states of a gate
        for t in terms
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
    mine = [t for t, role in zip(block.terms, block.roles, strict=True) if role == linear_in(a)]
    return f.emitter.broadcast(add_up(f, mine, axes), axes).code


def _keep(f: Function, block: Block, held: Sequence[Ix], cov: str, mean: str, inner: bool) -> None:
    """Where the moments are stored: own axes before plates."""
    g, chunk = block.gaussian, f.emitter.chunk
    assert g is not None
    cut = chunk is not None and any(i.dim == chunk for i in block.home)
    gates, home = [i for i in held if i in block.gates], [i for i in held if i not in block.gates]
    for k, a in enumerate(block.latents):
        own, idx = (*block.gates, *g.rows[a], *block.home), (*block.gates, *block.home, *g.rows[a])
        f.runtime[MEAN.of(a)] = Leaf(f"{mean}[{k}]", tuple(idx.index(i) for i in own), True, cut=cut)
        for m, b in enumerate(block.latents[k:], k):
            stored, places = (*gates, *g.rows[a], *g.columns[b], *home), (*held, *g.rows[a], *g.columns[b])
            f.runtime[COV.of(a, b)] = Leaf(
                f"{cov}[{k}][{m - k}]",
                tuple(places.index(i) for i in stored),
                inner,
                cut=cut and bool({*home} & {*block.home}),
            )


def gaussian_fields(f: Function, block: Block, latent: str) -> list[tuple[str, Array]]:
    """Mean and covariance (of a number its mean square) of a latent, over q of the gates."""
    em, g = f.emitter, block.gaussian
    assert g is not None
    rows, columns = g.rows[latent], g.columns[latent]
    own = (*block.gates, *block.home)
    if block.scale is not None:
        return _given_scale(f, block, latent)
    gates = [El(Q.of(block.name), own)] if block.gates else []
    first = El(MEAN.of(latent), (*own, *rows))
    mean = em.broadcast(em.contract([first, *gates], (*rows, *block.home)), (*rows, *block.home))
    second = El(MEAN.of(latent), (*own, *columns))
    held = covariance_axes(block)
    cov = El(COV.of(latent, latent), (*held, *rows, *columns))
    pattern = pattern_of(block, held)
    axes = (*rows, *columns, *block.home)
    kind = "cov" if rows else "var"
    if not gates:
        own_axes = axes if pattern else _carried(f, cov, axes)
        return [("id", mean), (kind, em.broadcast(em.contract([cov, *pattern], own_axes), axes))]
    between = about_mean(f, first, second, gates, mean, (block.gates, rows, columns, block.home))
    parts = [between, em.contract([cov, *pattern, *gates], axes)]
    return [("id", mean), (kind, em.broadcast(em.sum(parts), axes))]


def about_mean(
    f: Function, first: El, second: El, gates: Sequence[El], mean: Array, parts: tuple[tuple[Ix, ...], ...]
) -> Array:
    """The covariance of means over the gates: about their own mean, for squares of both may leave nothing.

    parts : gates, own axes, own axes once more, plates.
    """
    em, (states, rows, columns, home) = f.emitter, parts
    latent = made_of(first.var)[1][0]
    axes, name = (*states, *rows, *home), OFF.of(latent)
    off = f"{em.broadcast(em.value(first), axes).wrapped} - {em.align(mean, axes)}"
    made = em.name(f"off_{latent}", Array(off, axes, True))
    idx = first.idx
    cut = em.chunk is not None and any(i.dim == em.chunk for i in home)
    f.runtime[name] = Leaf(made.code, tuple(idx.index(i) for i in axes), True, cut=cut)
    return em.contract([El(name, idx), El(name, second.idx), *gates], (*rows, *columns, *home))


def _given_scale(f: Function, block: Block, latent: str) -> list[tuple[str, Array]]:
    """The same, over q of what scales the precision too."""
    em, g = f.emitter, block.gaussian
    assert g is not None
    rows, columns, home = g.rows[latent], g.columns[latent], block.home
    other = tuple(x.fresh(i.dim) for i in columns)
    pair = x.mul(El(latent, (*home, *rows)), El(latent, (*home, *other)))
    moments = []
    for value, axes in ((El(latent, (*home, *rows)), (*rows, *home)), (pair, (*rows, *other, *home))):
        found = average(Term(1, (), tuple(x.factors_of(value)), axes), f.plan.elimination.blocks, f.plan.joint)
        assert not isinstance(found, str), found
        parts = [em.contract([x.Num(t.coef), *t.factors], axes) for t in found]
        moments.append(em.broadcast(em.sum(parts), axes))
    return [("id", moments[0]), ("outer" if rows else "square", moments[1])]


def _carried(f: Function, e: El, axes: Sequence[Ix]) -> tuple[Ix, ...]:
    held = f.emitter.value(e).axes
    return tuple(i for i in axes if i in held)
