"""Latents of which some numbers follow from others without noise: exact linear constraints beside their densities.

    delta(c)  =  1/(2 pi) int exp(i l c) dl,        c = N (x - mean)

A constraint is a term l c of one more latent, its multiplier l, so that all that finds where terms of degree two
stand finds where constraints do. The matrix of all numbers is [[J, C'], [C, 0]], no precision: its inverse has the
covariances in its first part, and |det| and the sum over 2 pi are those of the density on the support.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Idx, Ix
from emdsl.derive.joint.element import Tensors
from emdsl.derive.joint.factors import LogJoint
from emdsl.derive.joint.matrices import determinant, inverse
from emdsl.derive.joint.scope import Scope
from emdsl.derive.joint.spikes import is_point_mass, leaves
from emdsl.derive.joint.support import Support, support_of
from emdsl.errors import ModelError, Problem
from emdsl.language import model as m

HALF_LOG_2PI = x.mul(x.HALF, x.add(x.fn("log", x.num(2)), x.fn("log", x.Fn("pi", ()))))
Branches = tuple[tuple[tuple[tuple[m.Expr, bool], ...], m.FamilyCall, Support | None], ...]


@dataclass(frozen=True)
class Constrained:
    """A latent with constraints: its branches with their supports, and the multipliers of one element."""

    branches: Branches
    multiplier: m.Variable


def constrained(model: m.ModelText, others: frozenset[str]) -> dict[str, Constrained]:
    """The continuous latents, other ones than these, that have constraints in some branch.

    Raises ModelError where what is no latent has a singular covariance.
    """
    out: dict[str, Constrained] = {}
    taken = {*(u.name for u in model.variables), *(s.name for s in model.sizes), *(let.name for let in model.lets)}
    for v in model.variables:
        if v.kind != "latent" and v.name not in model.exact:
            _refuse_singular(v, model)
            continue
        free = v.domain.unbounded
        if not free or v.name in others or v.distribution is None:
            continue
        branches = tuple(
            (conds, call, support_of(call, model)) for conds, call in leaves(with_branches(v.distribution, model))
        )
        points = [call for _, call, _ in branches if is_point_mass(call.family)]
        singular = [s for *_, s in branches if s is not None]
        if not points and not singular:
            continue
        if v.array or len(v.domain.dims) > 1:
            text = f"{v.name} has parts without noise, and is an array in brackets"
            hint = "put it in a plate (`for k in K:`), which is the same model"
            raise ModelError(Problem("E113", text, v.span, hint), model.source)
        slots = v.domain.dims if points or not v.domain.dims else (m.Dim.of(max(len(s.across) for s in singular)),)
        domain = m.Domain("real", slots, span=v.span)
        name = f"lambda_{v.name}"
        while name in taken:
            name += "_"
        out[v.name] = Constrained(branches, m.Variable("latent", name, v.plates, (), domain, span=v.span))
    return out


def seen_exactly(model: m.ModelText) -> dict[str, int]:
    """Observed variables that are linear in continuous latents without noise; of how many elements of these."""
    tensors, out = Tensors(model), dict[str, int]()
    for v in model.of_kind("observed"):
        free = v.domain.unbounded
        found = [call for _, call in leaves(v.distribution) if is_point_mass(call.family)] if free else []
        if not found or v.array or len(v.domain.dims) > 1:
            continue
        scope, _, _ = tensors.enter(v.plates)
        counts = []
        for call in found:
            tensors.begin()
            event = tuple(x.fresh(str(d)) for d in call.event)
            value = tensors.element(call.args[0][1], event if call.args[0][1].shape else (), scope)
            latent = {e for e in x.walk(value) if isinstance(e, El) and e.var in tensors.continuous}
            real = all(model.variable(e.var).domain.kind == "real" for e in latent)
            counts.append(len(latent) if real and _degree(value, tensors.continuous) == 1 else 0)
        if all(counts):
            out[v.name] = max(counts)
    return out


def _degree(e: Expr, latents: Collection[str]) -> int:
    """The degree of an expression in these latents; 2 for whatever is no polynomial of degree one."""
    match e:
        case El():
            return int(e.var in latents)
        case x.Add(parts):
            return max(_degree(p, latents) for p in parts)
        case x.Mul(parts):
            return min(2, sum(_degree(p, latents) for p in parts))
        case x.Sum(_, body):
            return _degree(body, latents)
        case x.Where(cond, then, other):
            return 2 if _degree(cond, latents) else max(_degree(then, latents), _degree(other, latents))
        case x.Choose(_, options):
            return max(_degree(p, latents) for p in options)
    return 2 if set(latents) & x.variables(e) else 0


def _refuse_singular(v: m.Variable, model: m.ModelText) -> None:
    """Raises ModelError where what is seen or estimated has no density."""
    for _, call in leaves(with_branches(v.distribution, model)) if v.distribution is not None else ():
        if support_of(call, model) is not None:
            text = f"the covariance of {v.name} is singular: by themselves, numbers without noise have no density"
            hint = "give each entry a noise, or write what follows from the others as an expression"
            raise ModelError(Problem("E113", text, call.span, hint), model.source)


def with_branches(d: m.Dist, model: m.ModelText) -> m.Dist:
    """`MvNormal(m, A if c else B)` as two branches, where a covariance may be singular in one of them."""
    if isinstance(d, m.Branch):
        return replace(d, then=with_branches(d.then, model), other=with_branches(d.other, model))
    lets = {let.name: let for let in model.lets if not let.plates}
    for k, (name, e) in enumerate(d.args):
        body = lets[e.name].body if isinstance(e, m.Var) and e.name in lets else e
        if isinstance(body, m.If) and len(body.shape) == 2:
            then, other = (
                with_branches(replace(d, args=(*d.args[:k], (name, part), *d.args[k + 1 :])), model)
                for part in (body.then, body.other)
            )
            return m.Branch(body.cond, then, other, d.span)
    return d


def constrained_body(
    v: m.Variable, home: tuple[Idx, ...], event: tuple[Ix, ...], call: m.FamilyCall, support: Support | None,
    multiplier: m.Variable, tensors: Tensors, scope: Scope,
) -> Expr:  # fmt: skip
    """The log density of one branch with its constraints, and of multipliers that hold nothing in it a density."""
    slots = multiplier.domain.dims
    if is_point_mass(call.family):
        value = tensors.element(call.args[0][1], event if call.args[0][1].shape else (), scope)
        here = x.add(tensors.variate(v, home, event), x.neg(value))
        return _held(tensors.leaf(multiplier, (*home, *event)), here)
    if support is None:
        i = tuple(x.fresh(str(d)) for d in slots)
        idle = _idle(tensors.leaf(multiplier, (*home, *i)))
        for k in i:
            idle = x.total(k, idle)
        return x.add(tensors.density(v, home, event, call, scope), idle)
    (size,) = (d.constant for d in slots if isinstance(d, m.Dim))
    assert size is not None
    mean = dict(call.args)["mean"]
    off = [
        x.add(tensors.variate(v, home, (d,)), x.neg(_written_out(tensors.element(mean, (d,), scope), tensors)))
        for d in range(len((support.along or support.across)[0]))
    ]
    multipliers = [tensors.leaf(multiplier, (*home, k)) for k in range(size)]
    held = [_held(e, _combined(row, off, tensors, scope)) for e, row in zip(multipliers, support.across, strict=False)]
    idle_ones = [_idle(e) for e in multipliers[len(support.across) :]]
    return x.add(_along(support, off, tensors, scope), *held, *idle_ones)


def _written_out(e: Expr, tensors: Tensors) -> Expr:
    """Rows of literal matrices as sums of single numbers: differences that reference points can balance."""

    def opened(node: Expr) -> Expr | None:
        if isinstance(node, x.Sum) and node.ix.dim.isdigit() and any(n in tensors.tables for n in x.variables(node)):
            return x.add(
                *(_written_out(x.substitute(node.body, {node.ix: k}), tensors) for k in range(int(node.ix.dim)))
            )
        if isinstance(node, El) and node.var in tensors.tables and all(isinstance(i, int) for i in node.idx):
            value: object = tensors.tables[node.var]
            for i in node.idx:
                assert isinstance(value, tuple) and isinstance(i, int)
                value = value[i]
            return x.num(value) if isinstance(value, int | float) else None
        return None

    return x.rebuild(e, opened)


def _combined(row: Sequence[float | m.Expr], off: Sequence[Expr], tensors: Tensors, scope: Scope) -> Expr:
    def times(c: float | m.Expr) -> Expr:
        return x.num(_tidy(c)) if isinstance(c, int | float) else tensors.element(c, (), scope)

    return x.add(*(x.mul(times(c), e) for c, e in zip(row, off, strict=True) if c != 0))


def _tidy(c: float) -> float | int:
    return int(c) if c == int(c) else c


def _held(multiplier: Expr, off: Expr) -> Expr:
    """l c - log 2 pi."""
    return x.add(x.mul(multiplier, off), x.mul(x.num(-2), HALF_LOG_2PI))


def idle_where_missing(multiplier: m.Variable, home: tuple[Idx, ...], event: tuple[Ix, ...], tensors: Tensors) -> Expr:
    """What the multipliers of an element that was not seen leave."""
    return _idle(tensors.leaf(multiplier, (*home, *event)))


def _idle(multiplier: Expr) -> Expr:
    """A standard normal density: what holds nothing leaves nothing."""
    return x.add(x.mul(x.neg(x.HALF), x.power(multiplier, x.num(2))), x.neg(HALF_LOG_2PI))


def _along(s: Support, off: Sequence[Expr], tensors: Tensors, scope: Scope) -> Expr:
    """The log density of e = L (x - mean), less the volume of G."""
    e = [_combined(row, off, tensors, scope) for row in s.along]
    volume = x.num(-s.log_volume) if s.log_volume else x.ZERO
    if s.scales is not None:
        out: list[Expr] = [volume]
        for part, scale in zip(e, s.scales, strict=True):
            var = tensors.element(scale, (), scope)
            square = x.mul(x.neg(x.HALF), x.power(part, x.num(2)), x.power(var, x.num(-1)))
            out += [square, x.mul(x.neg(x.HALF), x.fn("log", var)), x.neg(HALF_LOG_2PI)]
        return x.add(*out)
    assert s.cov is not None
    i, j = x.fresh(str(len(e))), x.fresh(str(len(e)))
    body = tensors.element(s.cov, (i, j), scope)
    squares = [
        x.mul(x.neg(x.HALF), inverse(i, j, body, (a, b)), e[a], e[b]) for a in range(len(e)) for b in range(len(e))
    ]
    log_det = x.mul(x.neg(x.HALF), determinant(i, j, body))
    return x.add(volume, *squares, log_det, x.mul(x.num(-len(e)), HALF_LOG_2PI))


def in_constraints(joint: LogJoint) -> tuple[str, ...]:
    """The parameters that stand in a constraint: the complete data say them without error, so that no Q has a maximum
    in them. Its slope, which holds moments of multipliers, is that of the likelihood all the same."""
    params = [v.name for v in joint.model.of_kind("param")]
    bodies = [f.body for f in joint.factors if x.variables(f.body) & joint.multipliers.keys()]
    products = [e for b in bodies for e in x.walk(b) if isinstance(e, x.Mul)]
    read = {n for e in products if (names := x.variables(e)) & joint.multipliers.keys() for n in names}
    return tuple(n for n in params if n in read)


def without_multipliers(model: m.ModelText) -> m.ModelText:
    """The model as it was written: no latent of a text lacks a distribution."""
    own = tuple(v for v in model.variables if v.kind != "latent" or v.distribution is not None)
    return model if len(own) == len(model.variables) else replace(model, variables=own)


def with_multipliers(model: m.ModelText, found: Mapping[str, Constrained]) -> m.ModelText:
    """The model with the multipliers, each after its latent."""

    def each() -> Iterator[m.Variable]:
        for v in model.variables:
            yield v
            if v.name in found:
                yield found[v.name].multiplier

    return replace(model, variables=tuple(each())) if found else model
