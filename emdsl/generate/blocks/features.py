"""What rows enter through: data-only products of one row (`1, x_i, x_i x_j`), stacked into one array.

All log-densities of a discrete block are then one matrix product, `coefficients @ features`, and the statistics
another, `q @ features.T`. Where no data are missing, masks are 1 and fewer features are left (`fold`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Idx, Ix
from emdsl.derive.algebra.made import AT, PRESENT, RAW, among, is_made
from emdsl.derive.joint.terms import Term
from emdsl.derive.posteriors.block import Block
from emdsl.derive.posteriors.once import unbounded
from emdsl.derive.updates.statistics import drop_presence
from emdsl.generate.blocks.chains import sequences_of
from emdsl.generate.context import Function
from emdsl.generate.lines.arrays import Array
from emdsl.generate.lines.spelling import Binding
from emdsl.generate.lines.spelling import number as spelt


def names_of(factors: Sequence[Expr]) -> list[list[str]]:
    """The variables of each factor, in an order of their own."""
    return sorted(sorted(x.variables(e)) for e in factors)


@dataclass(frozen=True)
class Feature:
    """A product of data on one row: its factors in canonical indices, its own axes, whether it is symmetric in two."""

    factors: tuple[Expr, ...]
    axes: tuple[Ix, ...]

    @cached_property
    def names(self) -> list[list[str]]:
        """What its factors hold: two features of other names are not looked at any closer."""
        return names_of(self.factors)

    @property
    def symmetric(self) -> bool:
        if len(self.axes) != 2 or len(self.factors) != 2:
            return False
        a, b = self.factors
        i, j = self.axes
        return isinstance(a, El) and isinstance(b, El) and i.dim == j.dim and x.substitute(a, {i: j}) == b

    def width(self, size: Callable[[str], str]) -> str:
        """Code of its number of rows in the stack; `size` gives the code of a length."""
        sizes = [size(i.dim) for i in self.axes]
        if self.symmetric:
            return f"{sizes[0]} * ({sizes[0]} + 1) // 2"
        return " * ".join(sizes) if sizes else "1"


@dataclass
class Stacked:
    """The features of one discrete block and where each stands in the stack."""

    block: Block
    row: Ix
    features: list[Feature] = field(default_factory=list)
    coefficients: dict[Feature, list[Expr]] = field(default_factory=dict)
    code: str = ""
    function: list[str] = field(default_factory=list)
    cuts: dict[Feature, str] = field(default_factory=dict)
    gapless: Gapless | None = None


def kinds_of(f: Function) -> dict[str, str]:
    """What variables are: draws stand in for data, but are not known before the fit."""
    return {v.name: "latent" if v.name in f.plan.drawn else v.kind for v in f.plan.joint.model.variables}


def is_data(e: Expr, kinds: dict[str, str]) -> bool:
    """Known before the fit: data, presence, numbers and sizes alone."""
    for n in x.variables(e):
        if is_made(n):
            if not among(n, (PRESENT, RAW)):
                return False
        elif kinds.get(n) not in ("observed", "given"):
            return False
    return True


def features_of(f: Function, block: Block) -> tuple[Stacked | None, list[Term]]:
    """The block's terms that are linear in features of a row, and the others."""
    if len(block.home) != 1 or block.neighbours or f.emitter.chunk not in (None, block.home[0].dim):
        return None, list(block.nodes)
    if f.emitter.chunk is None and block.chain is None:
        return None, list(block.nodes)
    stack = Stacked(block, block.home[0])
    kinds = kinds_of(f)
    others: list[Term] = []
    for t in block.nodes:
        found = _as_feature(t, block, kinds)
        if found is None:
            others.append(t)
            continue
        feature, coefficient = found
        if feature not in stack.coefficients:
            stack.features.append(feature)
            stack.coefficients[feature] = []
        stack.coefficients[feature].append(coefficient)
    if not any(feature.axes or feature.factors for feature in stack.features):
        return None, list(block.nodes)
    return stack, others


BEYOND = 1e250


def with_numbers(block: Block) -> Block:
    """The same block, whose `lgamma(m - k + 1)` is a number for states k beyond m, too, larger than any that a log of 0
    makes: infinity times a feature that is 0 would be no number."""
    beyond = {s for s in block.states if s.dim.endswith("[levels]")}

    def number(e: Expr) -> Expr | None:
        if isinstance(e, x.Fn) and e.name == "lgamma" and isinstance(a := e.args[0], x.Add) and not x.positive(a):
            if beyond & set(x.free(a)):
                return x.Fn("min", (e, x.Num(BEYOND)))
        return None

    def settled(t: Term) -> Term:
        return replace(t, factors=tuple(x.rebuild(e, number) for e in t.factors))

    return replace(block, terms=tuple(map(settled, block.terms))) if beyond else block


def _as_feature(t: Term, block: Block, kinds: dict[str, str]) -> tuple[Feature, Expr] | None:
    """(feature, coefficient over states and the feature's axes) where the term is a product of the two."""
    row = block.home[0]
    data = tuple(e for e in t.factors if is_data(e, kinds) and row in x.free(e))
    rest = tuple(e for e in t.factors if e not in data)
    data, _ = drop_presence(data)
    if any(row in x.free(e) for e in rest) or any(i in block.states for e in data for i in x.free(e)):
        return None
    if any(unbounded(e) for e in data) or any(isinstance(e, x.Sel) for e in data):
        return None
    if any(n in AT for e in rest for n in x.variables(e)):  # points of one row (`t == 0`) are found with the rows
        return None
    own = [i for i in t.ixs if i != row and any(i in x.free(e) for e in data)]
    names: dict[Ix, Idx] = {}
    ordered = tuple(sorted(data, key=lambda e: _shape_key(e, row)))
    for e in ordered:
        for i in x.free(e):
            if i in own and i not in names:
                names[i] = Ix(f"feature{len(names)}", i.dim)
    axes = tuple(i for i in names.values() if isinstance(i, Ix))
    if len(axes) > 2:
        return None
    coefficient = x.mul(x.Num(t.coef), *(x.substitute(e, names) for e in rest))
    for i in t.ixs:
        if i not in names and i != row and i not in block.states:
            coefficient = x.total(i, coefficient)
    return Feature(tuple(x.substitute(e, names) for e in ordered), axes), coefficient


def _shape_key(e: Expr, row: Ix) -> str:
    return repr(x.substitute(e, {i: Ix("", i.dim) for i in x.free(e) if i != row}))


def emit_stack(f: Function, stack: Stacked) -> Array:
    """`coefficients @ features`, the coefficients hoisted; returns the table (states, rows)."""
    em, states = f.emitter, stack.block.states
    columns, at = [], ["0"]
    stack.code = em.namer.fresh("features")
    count = " * ".join(em.size(s.dim) for s in states)
    for feature in stack.features:
        columns.append(_column(f, x.add(*stack.coefficients[feature]), states, feature, count))
        at.append(_plus(at[-1], feature.width(em.size)))
        stack.cuts[feature] = f"{at[-2]}:{at[-1]}"
    coefficients = em.namer.fresh("coefficients")
    em.outer.append(f"{coefficients} = np.concatenate([{', '.join(columns)}], axis=1)")
    name = em.namer.fresh(f"features_of_{stack.block.name}")
    stack.gapless = gapless(stack.features)
    rows = em.namer.cut if em.chunk else f"slice(0, {em.size(stack.row.dim)})"
    fold = fold_of(stack) if stack.gapless is not None else ""
    if stack.block.chain is not None and not f.largest:  # in lanes from here to the statistics
        lanes = sequences_of(stack.block)
        em.lines.append(f"{stack.code} = lane_features(prepared, {lanes}, {rows}, {name})")
        product = f"lane_table({coefficients}, {stack.code}{f', {fold}' if fold else ''})"
    else:
        em.lines.append(f"{stack.code} = row_features(prepared, {rows}, {name})")
        product = f"log_table({coefficients}, {stack.code}, {fold})" if fold else f"{coefficients} @ {stack.code}"
    stack.function = _features_function(f, stack, name)
    return Array(product, (Ix("flat", "states"), stack.row), True, binds=Binding.PRODUCT)


def _column(f: Function, coefficient: Expr, states: tuple[Ix, ...], feature: Feature, count: str) -> str:
    """Code of the coefficients of one feature, (states, its rows of the stack)."""
    em = f.emitter
    scale, rest = x.split_number(coefficient) if feature.symmetric else (1, coefficient)
    value = em.broadcast(em.value(rest), (*states, *feature.axes))
    code = value.wrapped
    if feature.symmetric:
        code = f"packed({value.code}{'' if scale == 1 else f', {spelt(scale)}'})"
    elif len(states) == 1 and len(feature.axes) < 2:
        return code if feature.axes else f"{code}[:, None]"
    return code if feature.symmetric and len(states) == 1 else f"{code}.reshape({count}, -1)"


def fold_of(stack: Stacked) -> str:
    """Code of the matrix that makes all features of those that are left where no data are missing; None with gaps."""
    return f'prepared["the fold of {stack.block.name}"]'


def _features_function(f: Function, stack: Stacked, name: str) -> list[str]:
    """The generated function that makes the stack of one block for some rows."""
    g = f.another(stack.row.dim)
    em = g.emitter
    fewer: list[str] = []
    if stack.gapless is not None:
        kept = tuple(stack.gapless.features)
        fewer = [f"if {fold_of(stack)} is not None:", *(f"    {line}" for line in _filled(g, kept, stack.row))]
    every = _filled(g, tuple(stack.features), stack.row)
    body = ['sizes = prepared["the sizes"]', f"{em.namer.rows} = row_count(rows)", *g.prologue(), *em.outer]
    doc = '"""What the rows enter through: products of data, one row of the result each."""'
    return [f"def {name}(prepared, rows):", *("    " + line for line in (doc, *body, *fewer, *every))]


def _filled(g: Function, features: Sequence[Feature], row: Ix) -> list[str]:
    """The lines that fill and return a stack."""
    em = g.emitter
    ends, fills = ["0"], []
    em.lines, em.known = [], {}
    em.named.clear()
    for feature in features:
        ends.append(_plus(ends[-1], feature.width(em.size)))
        fills.append(_fill(g, feature, row, f"features[{ends[-2]}:{ends[-1]}]"))
    return [*em.lines, f"features = np.empty(({ends[-1]}, {em.namer.rows}))", *fills, "return features"]


# ------------------------------------------------------------------ what is left where nothing is missing


@dataclass(frozen=True)
class Gapless:
    """Without gaps a mask is 1, and each feature a sum of fewer ones: `parts[i]` are (number, which) for feature i."""

    features: tuple[Feature, ...]
    parts: tuple[tuple[tuple[Fraction | float, int], ...], ...]


def gapless(features: Sequence[Feature]) -> Gapless | None:
    """The features that are left where all masks are 1; None where that saves little."""
    kept: dict[Feature, int] = {}
    parts: list[tuple[tuple[Fraction | float, int], ...]] = []
    for feature in features:
        found = []
        for number, factors in _monomials(feature):
            carried = {i for e in factors for i in x.free(e)}
            axes = feature.axes if factors and set(feature.axes) <= carried else ()
            if factors and not axes and feature.axes:
                return None
            found.append((number, kept.setdefault(Feature(factors, axes), len(kept))))
        parts.append(tuple(found))
    return Gapless(tuple(kept), tuple(parts)) if _nominal(kept) <= 0.75 * _nominal(features) else None


def _monomials(feature: Feature) -> list[tuple[Fraction | float, tuple[Expr, ...]]]:
    """The feature with masks at 1, sums multiplied out."""
    out: list[tuple[Fraction | float, tuple[Expr, ...]]] = [(Fraction(1), ())]
    for e in feature.factors:
        if isinstance(e, El) and e.var in PRESENT:
            continue
        terms = x.terms_of(e)
        split = [x.split_number(t) for t in terms]
        out = [(a * c, (*have, *(f for f in x.factors_of(t) if f != x.ONE))) for a, have in out for c, t in split]
    return out


def _nominal(features: Iterable[Feature]) -> float:
    """The height of a stack whose axes all have ten places."""
    return sum(10.0 ** len(f.axes) * (0.55 if f.symmetric else 1.0) for f in features)


def fold_lines(stack: Stacked, size: Callable[[str], str]) -> list[str]:
    """The line of `prepare` that decides whether a stack is folded, and makes the matrix."""
    if stack.gapless is None:
        return []
    masked = dict.fromkeys(
        PRESENT.named(e.var)
        for f in stack.features for e in f.factors if isinstance(e, El) and e.var in PRESENT
    )  # fmt: skip
    heights = ", ".join(f.width(size) for f in stack.features)
    kept = ", ".join(f.width(size) for f in stack.gapless.features)
    parts = [[(float(c), n) for c, n in found] for found in stack.gapless.parts]
    masks = ", ".join(f'data.masks.get("{n}")' for n in masked)
    target = f'out["the fold of {stack.block.name}"]'
    return [f"{target} = fold([{masks}], [{heights}], [{kept}], {parts})"]


def _plus(a: str, b: str) -> str:
    """Code of a sum, numbers added up."""
    if a == "0":
        return b
    head, _, last = a.rpartition(" + ")
    if last.isdigit() and b.isdigit():
        return (f"{head} + " if head else "") + str(int(last) + int(b))
    return f"{a} + {b}"


def _fill(f: Function, feature: Feature, row: Ix, target: str) -> str:
    """The line that writes a feature into its rows of the stack."""
    em = f.emitter
    if not feature.factors:
        return f"{target} = 1.0"
    if feature.symmetric:
        return f"pairs({em.value(feature.factors[0]).code}, {target})"
    value = em.contract(feature.factors, (*feature.axes, row))
    code = value.code if len(feature.axes) < 2 else f"{value.wrapped}.reshape(-1, {em.namer.rows})"
    return f"{target} = {code}"
