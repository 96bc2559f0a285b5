"""Printing a Gaussian vector whose precision holds a neighbour: moments at scale 1, what the neighbour takes up."""

from __future__ import annotations

from emdsl.derive.algebra.expr import El
from emdsl.derive.algebra.made import COV, LOCATION, MEAN, VARIANCE
from emdsl.derive.posteriors.block import Block
from emdsl.derive.posteriors.roles import linear_in, quadratic_in
from emdsl.derive.posteriors.scaled import is_matrix
from emdsl.generate.blocks.chains import add_up
from emdsl.generate.blocks.gaussian import emit_gaussian
from emdsl.generate.context import Function
from emdsl.generate.lines.arrays import Array, Leaf
from emdsl.generate.lines.kept import LINEAR
from emdsl.generate.lines.spelling import Binding


def emit_scaled(f: Function, block: Block) -> Array:
    """The lines of one block; its log-normaliser at scale 1, less the square that the neighbour takes up."""
    return _by_matrix(f, block) if is_matrix(block) else _by_number(f, block)


def _linear(f: Function, block: Block) -> Array:
    em = f.emitter
    axes = em.order((*block.gates, *block.own, *block.home))
    mine = [t for t, r in zip(block.terms, block.roles, strict=True) if r == linear_in(block.name)]
    with f.part(block, "linear"):
        value = add_up(f, mine, axes)
        return em.name(f"h_{block.name}", em.broadcast(value, em.order((*value.axes, *block.own))))


def _keep(f: Function, block: Block, kind: str, value: Array, places: tuple[object, ...]) -> None:
    em = f.emitter
    cut = em.chunk is not None and any(i.dim == em.chunk for i in value.axes)
    order = tuple(places.index(i) for i in value.axes)
    f.runtime[f"{kind}:{block.name}"] = Leaf(value.code, order, value.inner, cut=cut)


def _by_matrix(f: Function, block: Block) -> Array:
    """J = W m: location b / m, variance 1 / m, and b b' / m, which multiplies W."""
    em, name, g = f.emitter, block.name, block.gaussian
    assert g is not None
    (row,), (column,) = g.rows[name], g.columns[name]
    held = (*block.gates, *block.home)
    em.comment(f"{name}: its precision is a matrix of another latent times a number; its mean, and 1 / that number")
    mine = [t for t, r in zip(block.terms, block.roles, strict=True) if r == quadratic_in(name, name)]
    with f.part(block, "precision"):
        square = add_up(f, mine, em.order(held))
    linear = _linear(f, block)
    with f.part(block, "precision", "moments"):
        variance = em.name(
            f"variance_{name}", Array(f"-0.5 / {square.wrapped}", square.axes, square.inner, binds=Binding.PRODUCT)
        )
    axes = em.order((*linear.axes, *variance.axes))
    inner = linear.inner or variance.inner
    product = f"{em.align(linear, axes)} * {em.align(variance, axes) if variance.axes else variance.code}"
    with f.part(block, "moments"):
        location = em.name(f"location_{name}", Array(product, axes, inner, binds=Binding.PRODUCT))
    turned = Array(location.code, tuple(column if i == row else i for i in location.axes), inner)
    both = em.order((*linear.axes, *turned.axes))
    product = f"{em.align(linear, both)} * {em.align(turned, both)}"
    with f.part(block, "moments"):
        fit = em.name(f"fit_{name}", Array(product, both, inner, binds=Binding.PRODUCT))
    _keep(f, block, "location", location, (*held, row))
    _keep(f, block, "variance", variance, held)
    _keep(f, block, "fit", fit, (*held, row, column))
    code = f"0.5 * {em.size(row.dim)} * np.log(2 * np.pi * {variance.code})"
    with f.part(block, "normaliser"):
        return em.name(f"log_norm_{name}", Array(code, variance.axes, variance.inner))


def _by_number(f: Function, block: Block) -> Array:
    """J = u M: the Gaussian with precision M, and b' M^-1 b, which multiplies u."""
    em, name, g = f.emitter, block.name, block.gaussian
    assert g is not None
    held, (row,) = (*block.gates, *block.home), g.rows[name]
    log_z = emit_gaussian(f, block)
    linear = _linear(f, block)
    _keep(f, block, LINEAR.word, linear, (*held, row))
    mean, cov = f.runtime.pop(MEAN.of(name)), f.runtime.pop(COV.of(name, name))
    f.runtime[LOCATION.of(name)], f.runtime[VARIANCE.of(name)] = mean, cov
    with f.part(block, "moments"):
        fit = em.contract([El(LINEAR.of(name), (*held, row)), El(LOCATION.of(name), (*held, row))], em.order(held))
        fit = em.name(f"fit_{name}", fit)
    del f.runtime[LINEAR.of(name)]
    _keep(f, block, "fit", fit, held)
    axes = em.order((*log_z.axes, *fit.axes))
    less = f"{em.align(log_z, axes)} - 0.5 * {em.align(fit, axes) if fit.axes else fit.code}"
    with f.part(block, "normaliser"):
        return em.name(f"log_norm_{name}", Array(less, axes, True, binds=Binding.SUM))
