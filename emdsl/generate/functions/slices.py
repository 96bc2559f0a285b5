"""Statistics as slices of one product: a discrete block's probabilities times the stack of its features."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Ix
from emdsl.derive.algebra.made import WEIGHT, Q
from emdsl.derive.updates.statistics import Statistic, drop_presence
from emdsl.generate.blocks.chains import by_sequence, weighted_sequences
from emdsl.generate.blocks.features import Stacked, names_of
from emdsl.generate.context import Function
from emdsl.generate.lines.arrays import Array
from emdsl.generate.printer import Printer


def weighted_q(printer: Printer, f: Function, factors: Sequence[Expr]) -> list[Expr]:
    """q times the sample weights is one array, made once."""
    weights = [e for e in factors if isinstance(e, El) and e.var == WEIGHT]
    for w in weights:
        for e in factors:
            if isinstance(e, El) and e.var in Q and w.idx[0] in e.idx and e.idx[-1] == w.idx[0]:
                name = f"w{e.var}"
                if name not in f.runtime:
                    q = f.emitter.leaf(e.var)
                    code = f.emitter.namer.fresh(f"{q.code}_weighted")
                    plate = x.fresh(str(printer.plan.weighted))  # q's own last axis, through whatever it is read here
                    weight = f.emitter.value(El(WEIGHT, (plate,)))
                    even = 'prepared["the weights are even"]'
                    f.emitter.lines.append(f"{code} = {q.code} if {even} else {q.code} * {weight.code}")
                    f.runtime[name] = type(q)(code, q.order, True, cut=q.cut)
                swapped = El(name, e.idx)
                return [swapped if g is e else g for g in factors if g is not w]
    return list(factors)


def slice_of(printer: Printer, f: Function, stack: Stacked, s: Statistic, total: str) -> str | None:
    em = f.emitter
    q = El(Q.of(stack.block.name), (*stack.block.states, *stack.block.home))
    mine = [e for e in s.factors if isinstance(e, El) and e.var == q.var]
    if len(mine) != 1:
        return None
    states, row = mine[0].idx[:-1], mine[0].idx[-1]
    weights = [e for e in s.factors if isinstance(e, El) and e.var == WEIGHT]
    if (printer.plan.weighted == stack.row.dim or weighted_sequences(f, stack.block)) != bool(weights):
        return None
    if stack.block.chain is not None and any(by_sequence(w, stack.block, (row,)) is None for w in weights):
        return None
    rest = tuple(e for e in s.factors if e is not mine[0] and e not in weights)
    if any(i in x.free(e) for e in rest for i in states) or len(set(states)) < len(states):
        return None
    rest, _ = drop_presence(rest)
    own = tuple(i for i in s.axes if i not in states)
    if any(not isinstance(i, Ix) for i in states) or set(states) - set(s.axes):
        return None
    names = names_of(rest)
    for feature in stack.features:
        if feature.names != names:
            continue
        named = _same_feature(feature.factors, feature.axes, stack.row, rest, own, row)
        if named is None:
            continue
        count = ", ".join(em.size(i.dim) for i in states)  # type: ignore[union-attr]
        part = f"{total}[:, {stack.cuts[feature]}]"
        if feature.symmetric:
            shaped = f"unpacked({part}, {em.size(own[0].dim)})"
            shaped = (
                shaped if len(states) == 1 else f"{shaped}.reshape({count}, {', '.join(em.size(i.dim) for i in own)})"
            )
        elif len(states) == 1 and not feature.axes:
            shaped = f"{total}[:, {stack.cuts[feature].split(':')[0]}]"
        else:
            shape = ", ".join(em.size(i.dim) for i in (*states, *named))  # type: ignore[union-attr]
            shaped = f"{part}.reshape({shape})"
        return em.transposed(Array(shaped, (*states, *named)), tuple(s.axes))  # type: ignore[arg-type]
    return None


def _same_feature(
    factors: tuple[Expr, ...],
    axes: tuple[Ix, ...],
    row: Ix,
    rest: tuple[Expr, ...],
    own: tuple[Ix, ...],
    own_row: object,
) -> tuple[Ix, ...] | None:
    """The statistic's axes in the feature's order, where its data factors are the feature's."""
    if len(axes) != len(own) or len(factors) != len(rest) or not isinstance(own_row, Ix):
        return None
    for order in permutations(own):
        to = dict(zip(axes, order, strict=True)) | {row: own_row}
        if sorted(repr(x.substitute(e, to)) for e in factors) == sorted(map(repr, rest)):
            return tuple(order)
    return None
