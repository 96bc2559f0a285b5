"""Printing what the user may start factors of q from: the fields of `posterior_`, factor by factor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Ix
from emdsl.derive.algebra.made import ARGUMENT, COV, LOCATION, MEAN, MOMENT, VARIANCE, Q, among, made_of
from emdsl.derive.joint.plates import home_of
from emdsl.derive.posteriors.block import Block
from emdsl.derive.posteriors.gaussian_moments import covariance_axes
from emdsl.derive.posteriors.meanfield import moments_of
from emdsl.generate.context import Function, counted_plate
from emdsl.generate.functions.posterior import moved
from emdsl.generate.printer import Printer

Order = tuple[int, ...]


def given_lines(printer: Printer, f: Function) -> list[str]:
    """Lines that put what is `given` in place of the factors that were made."""
    blocks = [b for part in printer.plan.elimination.parts for b in part.blocks]
    return [line for b in sorted(blocks, key=lambda b: b.scale is not None) for line in _given(printer, f, b)]


def _given(printer: Printer, f: Function, b: Block) -> Iterator[str]:
    clouds = printer.plan.joint.in_clouds
    home = home_of(printer.plan.joint.model.variable(b.name))
    if b.gates or b.name in printer.plan.joint.unnamed:
        return
    if set(b.latents) & clouds:
        if len(b.latents) == 1 and not b.own and b.name in {c.name for c in printer.plan.joint.clouds}:
            yield f'put_points(factors, given, "{b.name}", {_order(f, home, home)}{_origin(f, b.name)})'
    elif b.states:
        yield from _discrete(printer, f, b)
    elif b.record is not None and b.scale is None and not counted_plate(printer.plan, b.name):
        yield _member(printer, f, b, home)
    elif b.gaussian is not None and b.scale is None and not b.by_pattern:
        for n in b.latents:
            yield from _gaussian(printer, f, b, n)
    elif b.scale is not None and not b.by_pattern:
        yield from _scaled(printer, f, b)


def _discrete(printer: Printer, f: Function, b: Block) -> Iterator[str]:
    model = printer.plan.joint.model
    if len(b.latents) > 1 and not b.network:
        if Q.of(b.name) in printer.plan.moments and b.chain is None and not counted_plate(printer.plan, b.name):
            stored = f.emitter.order((*b.states, *b.home))
            order = tuple((*b.home, b.states[0]).index(i) for i in stored if i not in b.states[1:])
            yield f'put_together(factors, given, {b.latents}, "{Q.of(b.name)}", {order})'
        return
    for n, state in zip(b.latents, b.states, strict=True):
        if Q.of(n) not in printer.plan.moments:
            continue
        home = home_of(model.variable(n))
        plate = counted_plate(printer.plan, n)
        which = f', prepared["which {plate}"]' if plate else ""
        if b.chain is not None and b.chain.depth == 1:
            yield f'told = set(given) & {{"{n}"}}'
        yield f'put(factors, given, "{n}", "{Q.of(n)}", {_order(f, (*home, state), (state, *home))}{which})'
        if b.chain is not None and b.chain.depth == 1:
            yield f'put_chain(factors, "{n}", "{Q.of(n)}", told)'


def _member(printer: Printer, f: Function, b: Block, home: Sequence[Ix]) -> str:
    """A call that starts from the member of a family with these parameters."""
    record = b.record
    assert record is not None
    found = moments_of(b, printer.plan.joint.model)
    wanted = [k for k in found if k in printer.plan.moments and among(k, (MOMENT, ARGUMENT))]
    stored = f.emitter.order((*b.home, *b.own))
    at = tuple(stored.index(i) for i in b.own)
    axis = "" if not at else f", axis={at[0]}" if len(at) == 1 else f", axes={at}"
    names = ", ".join(f'"{k}": ("{made_of(k)[0]}", "{made_of(k)[1][1]}")' for k in wanted)
    fields = tuple(record.fields) or ("mean", "var")
    if "log" in record.statistics and "var" in fields:
        fields = tuple(f"log {name}" for name in fields)
    kernel = "normal_posterior" if b.cuts else record.kernel
    order = _order(f, (*b.home, *b.own), (*b.home, *b.own))
    return (
        f'put_member(factors, given, "{b.name}", {kernel}, {fields}, {order}, {len(home)}, {{{names}}}'
        f"{_origin(f, b.name)}{axis})"
    )


def _gaussian(printer: Printer, f: Function, b: Block, n: str) -> Iterator[str]:
    g, found = b.gaussian, moments_of(b, printer.plan.joint.model)
    assert g is not None
    mean, cov = MEAN.of(n), COV.of(n, n)
    if not {mean, cov} <= set(found):
        return
    rows, columns = g.rows[n], g.columns[n]
    plates = tuple(b.field.homes[n]) if b.field is not None else tuple(b.home)
    own = set(plates if b.field is not None else covariance_axes(b))
    shared = tuple(k for k, i in enumerate(plates) if i not in own)
    kept = [i for i in plates if i in own]
    yield _put_gaussian(f, n, (mean, _order(f, (*plates, *rows), found[mean])),
                        (cov, _order(f, (*kept, *rows, *columns), found[cov])), bool(rows), shared)  # fmt: skip


def _scaled(printer: Printer, f: Function, b: Block) -> Iterator[str]:
    """A Gaussian whose covariance another latent scales: what is kept is the covariance without that."""
    model = printer.plan.joint.model
    found, scale = moments_of(b, model), b.scale
    mean, cov = LOCATION.of(b.name), VARIANCE.of(b.name)
    if not {mean, cov} <= set(found) or not isinstance(scale, El) or scale.var not in {v.name for v in model.variables}:
        return
    key = MOMENT.of(scale.var, "inv" if model.variable(scale.var).domain.symmetric else "recip")
    around = len(home_of(model.variable(scale.var)))
    if key not in printer.plan.moments or around not in (0, len(b.home)):
        return
    kept = printer.plan.moments[key]
    matrix = tuple(f.emitter.order(kept).index(i) for i in kept[around:])
    own = tuple(x.fresh(i.dim) for i in b.own)
    axes = (*b.home, *b.own)
    stored = tuple(f.emitter.order(found[mean]))
    order = tuple(axes.index(i) for i in stored)
    whole = tuple((*axes, *own).index(i) for i in (*b.own, *own, *f.emitter.order(b.home)))
    yield (
        _put_gaussian(f, b.name, (mean, order), (cov, whole), bool(b.own), ()).removesuffix(")")
        + f', scale=("{key}", {matrix}))'
    )


def _put_gaussian(
    f: Function, n: str, mean: tuple[str, Order], cov: tuple[str, Order], vector: bool, shared: Order,
    more: str = "",
) -> str:  # fmt: skip
    fields = ("mean", "cov" if vector else "var")
    return f'put_gaussian(factors, given, "{n}", {fields}, {mean}, {cov}, {shared}{_origin(f, n)}{more})'


def _order(f: Function, said: Sequence[Ix], axes: Sequence[Ix]) -> Order:
    """Which axes of what the user hands over, in the order in which they are kept."""
    return tuple(list(said).index(i) for i in f.emitter.order(axes))


def _origin(f: Function, latent: str) -> str:
    code = moved(f, latent)
    return f", origin={code}" if code else ""
