"""ModelText -> LogJoint: the log joint density as a sum of indexed scalar factors.

`log p(x, y | theta) = sum over factors, sum over their indices, prod(gates) * prod(masks) * body`.
Discrete latents enter as gates (one-hot selectors) and nowhere else: under a gate the latent's
value is the gate's index. `let`s, family densities and literal tables are substituted here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import DataIx, El, Expr, Idx, Ix
from emdsl.derive.algebra.made import PRESENT
from emdsl.derive.joint.constraints import (
    Constrained,
    constrained,
    constrained_body,
    idle_where_missing,
    with_multipliers,
    without_multipliers,
)
from emdsl.derive.joint.element import Tensors
from emdsl.derive.joint.ends import guarded, limits_of, refuse_moving_support, short_of_ends, within_support
from emdsl.derive.joint.factors import Factor, LogJoint, Told, origin
from emdsl.derive.joint.gated_sums import UnderSum, opened_sums
from emdsl.derive.joint.levels import where_it_is
from emdsl.derive.joint.ranges import decided_by_givens
from emdsl.derive.joint.scope import Closure, Scope, size_number
from emdsl.derive.joint.spikes import is_point_mass, leaves, of_its_own
from emdsl.derive.joint.truncation import limits, log_mass, narrower, refusal
from emdsl.derive.joint.unrolled import unrolled
from emdsl.errors import ModelError, Problem
from emdsl.families.tails import tails
from emdsl.language import model as m
from emdsl.language.bounds import is_cut

MOST_CASES = 512  # of one density, by its conditions: each case is a factor with terms of its own


def expand(model: m.ModelText, drawn: Sequence[str] = ()) -> LogJoint:
    """The log joint of a resolved model, in which drawn latents are data. Raises `ModelError` for what has no density
    here."""
    model = without_multipliers(model)
    plain = Tensors(model)
    held = constrained(model, plain.deterministic | plain.spikes)
    model = with_multipliers(model, held)
    tensors = Tensors(model) if held else plain
    factors: list[Factor] = []
    closed: dict[str, frozenset[str]] = {}
    problems: list[Problem] = []
    summed_over: set[str] = set()
    for v in model.variables:
        if v.distribution is None or v.name in tensors.deterministic:
            continue
        try:
            factors += _variable_factors(v, tensors, held.get(v.name), closed)
            if v.kind == "latent" or v.name in drawn:
                factors += _within_bounds(v, tensors)
        except ModelError as e:
            problems += e.problems
            summed_over |= e.sizes if isinstance(e, UnderSum) else set()
    for p in model.potentials:
        try:
            scope, plates, masks = tensors.enter(p.plates)
            tensors.begin()
            body = tensors.element(p.expression, (), scope)
            base = Factor("", "potential", (), masks, body, plates, p.span)
            factors += [guarded(g, tensors) for whole in _with_gates(base, tensors) for g in _lift(whole)]
        except ModelError as e:
            problems += e.problems
            summed_over |= e.sizes if isinstance(e, UnderSum) else set()
    if problems:
        raise UnderSum(problems, model.source, summed_over) if summed_over else ModelError(problems, model.source)
    levels = {n: tensors.levels(model.variable(n)) for n in sorted(tensors.discrete)}
    told = {n: told_of(model.variable(n), tensors) for n in sorted(tensors.spikes)}
    return LogJoint(
        model, tuple(factors), dict(tensors.tables), levels, tensors.discrete, tensors.deterministic, told=told,
        multipliers={found.multiplier.name: n for n, found in held.items()}, closed=closed,
    )  # fmt: skip


def told_of(v: m.Variable, tensors: Tensors) -> Told:
    """The first and second moments of a latent with points about its origin, branch by branch."""
    scope, plates, masks = tensors.enter(v.plates)
    home = tuple(scope.loops[p.index] for p in v.plates)
    row, column = (tuple(x.fresh(str(d)) for d in v.domain.dims) for _ in range(2))

    def lifted(*own: tuple[Ix, ...]) -> tuple[Factor, ...]:
        tensors.begin()
        value = x.mul(*(tensors.read(v, home + i, El(origin(v.name), home + i)) for i in own))
        base = Factor("", "told", (), masks, value, plates, v.span)  # its own axes stay: what is told has them
        return tuple(g for whole in _with_gates(base, tensors) for g in _lift(whole, plates))

    return Told(plates, row, column, lifted(row), lifted(row, column if v.domain.dims else row))


def _variable_factors(
    v: m.Variable, tensors: Tensors, held: Constrained | None, closed: dict[str, frozenset[str]]
) -> list[Factor]:
    """The factors of a variable's branches; `closed` takes which ends of its domain some of them have a density at."""
    scope, plates, masks = tensors.enter(v.plates)
    whole = any(len(c.event) > len(v.domain.dims) for _, c in leaves(v.distribution)) if v.distribution else False
    array = () if whole else tuple(x.fresh(str(d)) for d in v.array)  # else the calls' events hold the array axes
    home: tuple[Idx, ...] = tuple(scope.loops[p.index] for p in v.plates) + array
    lifted: list[tuple[Factor, Expr | None]] = []
    assert v.distribution is not None
    atoms = _atoms(v) if v.domain.interval and not held else ()
    branches = held.branches if held else tuple((conds, call, None) for conds, call in leaves(v.distribution))
    for conds, call, support in branches:
        tensors.begin()
        event = tuple(x.fresh(str(d)) for d in call.event[: len(call.event) - len(call.family.x.domain.dims)])
        conditions = tuple(tensors.condition(c, positive, scope) for c, positive in conds)
        if v.name in tensors.spikes and is_point_mass(call.family):
            body = of_its_own(v, tensors.variate(v, home, event))
        elif held:
            body = constrained_body(v, home, event, call, support, held.multiplier, tensors, scope)
        else:
            body = tensors.density(v, home, event, call, scope)
            refuse_moving_support(body, v, call, tensors)
        body = x.add(
            body, *limits_of(v, home, event, call, atoms, tensors, scope), *_levels_reached(v, home, tensors, scope)
        )
        body = x.add(body, x.neg(_cut(v, home, event, call, tensors, scope)))
        cells = _by_cell(v, body) if v.kind == "observed" and len(call.family.x.domain.dims) == 1 else None
        if cells is not None:
            body, event = cells[1], (*event, cells[0])
        present = tensors.presence(v, home, event, body)
        measure = plates + array + event
        base = Factor(v.name, v.kind, (), masks + conditions + present, body, measure, call.span)
        value = tensors.variate(v, home, event) if not call.family.x.domain.dims else None
        opened = _with_gates(base, tensors)
        lifted += ((g, value) for whole in opened for g in _lift(whole, unseen=tensors.continuous))
        if held and present:
            idle = idle_where_missing(held.multiplier, home, event, tensors)
            gone = replace(base, masks=(*masks, *conditions, x.add(x.ONE, x.neg(x.mul(*present)))), body=idle)
            lifted += ((g, None) for whole in _with_gates(gone, tensors) for g in _lift(whole))
    lifted = _seen_alike(v, lifted)
    reached: frozenset[str] = frozenset()
    if v.kind == "observed" and not held:
        closed[v.name], lifted = reached, lifted = short_of_ends(v, lifted)
    several = len(lifted) > 1
    return [guarded(h, tensors, v, reached) for g, _ in lifted for h in within_support(g, tensors, several)]


def _seen_alike(v: m.Variable, lifted: list[tuple[Factor, Expr | None]]) -> list[tuple[Factor, Expr | None]]:
    """Factors that ask alike whether data were seen: cell by cell where all branches can be, else by whole elements."""
    name = PRESENT.of(v.name)
    asked = [len(e.idx) for f, _ in lifted for c in f.masks for e in x.walk(c) if isinstance(e, El) and e.var == name]

    def whole(e: Expr) -> Expr | None:
        return El(name, e.idx[: min(asked)]) if isinstance(e, El) and e.var == name else None

    if len(set(asked)) < 2:
        return lifted
    return [(replace(f, masks=tuple(x.rebuild(c, whole) for c in f.masks)), value) for f, value in lifted]


def _cut(
    v: m.Variable, home: tuple[Idx, ...], event: tuple[Ix, ...], call: m.FamilyCall, tensors: Tensors, scope: Scope
) -> Expr:
    """The log mass that a narrower domain leaves, where it depends on a parameter (else it is a prior's constant)."""
    own = call.family.x.domain
    if v.kind != "param" and v.domain.structured and not own.structured:
        raise ModelError(refusal(call))  # numbers in order, on a simplex: the family has another mass there
    if is_point_mass(call.family) or not (is_cut(v.domain, call) or narrower(own, v.domain)):
        return x.ZERO
    inner = tensors.family_scope(v, home, event, call, scope)
    arguments = [tensors.element(a, event if a.shape else (), scope) for _, a in call.args]
    held = {n for e in arguments for n in x.variables(e) if tensors.is_parameter(n)}
    if v.kind == "param" and not held:
        return x.ZERO
    low, high = limits(v.domain, lambda e: tensors.element(e, (), scope))
    name = call.family.x.name

    def at(body: m.Expr) -> Callable[[Expr], Expr]:
        def element(value: Expr) -> Expr:
            bound = {**inner.bindings, name: Closure(None, None, ready=value)}
            return tensors.element(body, (), Scope(inner.loops, bound, inner.sizes, inner.around, gates=inner.gates))

        return element

    known = tails(call.family, call.signature)
    density = at(call.family.signatures[call.signature].log_density)
    return log_mass(density, known and (at(known[0]), at(known[1])), own, low, high, call)


def _within_bounds(v: m.Variable, tensors: Tensors) -> list[Factor]:
    """`log [lower <= y <= upper]` of a latent whose bounds givens decide: conditions, as data would tell them."""
    bounds = {} if v.name in tensors.discrete else decided_by_givens(v)
    if not bounds:
        return []
    scope, plates, masks = tensors.enter(v.plates)
    tensors.begin()
    own = tuple(x.fresh(str(d)) for d in (*v.array, *v.domain.dims))
    value = tensors.variate(v, tuple(scope.loops[p.index] for p in v.plates) + own, ())
    terms = [x.fn("log", x.fn("ge" if side == "lower" else "le", value, tensors.element(b, (), scope)))
             for side, b in bounds.items()]  # fmt: skip
    base = [Factor("", "bound", (), masks, t, plates + own, v.span) for t in terms if t != x.ZERO]
    return [h for f in base for g in _with_gates(f, tensors) for h in _lift(g, unseen=tensors.continuous)]


def _by_cell(v: m.Variable, body: Expr) -> tuple[Ix, Expr] | None:
    """(d, b) with body = sum_d b(d), where a vector's density is a sum over its entries."""
    terms = x.terms_of(body)
    axis = x.fresh(str(v.domain.dims[-1]))
    out: list[Expr] = []
    alike: list[Expr] = []
    for t in terms:
        factors = list(x.factors_of(t))
        sums = [f for f in factors if isinstance(f, x.Sum) and f.ix.dim == axis.dim]
        lengths = [f for f in factors if f == x.SizeN(axis.dim)]
        if sums:
            factors.remove(sums[0])
            factors.append(x.substitute(sums[0].body, {sums[0].ix: axis}))
        elif lengths:
            factors.remove(lengths[0])
        elif axis.dim.isdigit() and not _holds(t, v.name):
            alike.append(x.mul(t, x.power(x.num(int(axis.dim)), x.num(-1))))  # of r * eye(2), 2 log r
            continue
        else:
            return None
        if any(isinstance(e, El) and e.var == v.name and e.idx[-1] != axis for f in factors for e in x.walk(f)):
            return None
        out.append(x.mul(*factors))
    if alike and not all(_same_square(t, v.name, axis) for t in out if _holds(t, v.name)):
        return None
    return axis, x.add(*out, *alike)


def _holds(e: Expr, name: str) -> bool:
    return any(isinstance(leaf, El) and leaf.var == name for leaf in x.walk(e))


def _same_square(term: Expr, name: str, axis: Ix) -> bool:
    """Whether a term of a Gaussian has one precision for all cells: of its normaliser each then has the same share."""
    others = [f for f in x.factors_of(term) if not _holds(f, name)]
    return not any(axis in x.free(f) for f in others)


def _levels_reached(v: m.Variable, home: tuple[Idx, ...], tensors: Tensors, scope: Scope) -> list[Expr]:
    """A discrete latent whose number of levels differs by row: no mass beyond its own, nor below where it begins."""
    if v.name not in tensors.discrete:
        return []
    value, ends = tensors.variate(v, home, ()), []
    if v.domain.lower is not None and not (isinstance(v.domain.lower, m.Num) and v.domain.lower.value <= 0):
        ends.append(x.fn("log", x.fn("ge", value, tensors.element(v.domain.lower, (), scope))))
    if isinstance(v.domain.levels, m.Ragged):
        ends.append(x.fn("log", x.fn("lt", value, size_number(v.domain.levels, scope))))
    elif tensors.levels(v).endswith("[levels]"):
        assert v.domain.upper is not None
        ends.append(x.fn("log", x.fn("le", value, tensors.element(v.domain.upper, (), scope))))
    return ends


def calls(v: m.Variable) -> tuple[m.FamilyCall, ...]:
    """The families that a variable may come from."""
    return () if v.distribution is None else tuple(c for _, c in leaves(v.distribution))


def _atoms(v: m.Variable) -> tuple[m.Expr, ...]:
    """Values at which a point mass stands beside densities: there the densities do not count."""
    masses = [c for c in calls(v) if is_point_mass(c.family)]
    return tuple(c.args[0][1] for c in masses) if 0 < len(masses) < len(calls(v)) else ()


def _with_gates(f: Factor, tensors: Tensors) -> list[Factor]:
    """The factor in each configuration of the discrete latents it reads. Raises ModelError where they are not counted.

    A latent that stands under a sum has as many elements there as the sum has terms, which one gate does not select.
    """
    gates = tuple(x.Sel(El(*place), k) for place, k in tensors.gates.items())
    under = (n for n, idx in tensors.gates if not set(x.free(El("", idx))) <= set(f.plates))  # of a ragged row
    whole = replace(f, gates=gates, plates=f.plates + tuple(tensors.gates.values()))
    found = next(under, None) or opened_sums(whole, tensors.discrete)
    if isinstance(found, str):
        raise UnderSum.of(found, whole)
    return found


def lifted(f: Factor, tensors: Tensors, kept: tuple[Ix, ...] = ()) -> Iterator[Factor]:
    """The factor under the gates that were met while it was written, each case of it by itself, on the plates `kept`
    even where it counts at one of their elements alone."""
    return (h for g in _with_gates(f, tensors) for h in _lift(g, kept, unseen=tensors.continuous))


def _lift(f: Factor, kept: tuple[Ix, ...] = (), unseen: frozenset[str] = frozenset()) -> Iterator[Factor]:
    """Literal lists and conditionals inside a factor become cases of the whole factor, which keeps the plates `kept`.

    `f(sum_k d_k a_k) = sum_k d_k f(a_k)` for one-hot d, so the density stays closed and each case splits. What a
    point mass holds under a condition on latents `unseen` stays whole: which case holds is what its value tells.
    """
    work, splits = [f], 0
    while work:
        g = work.pop()
        g = replace(g, body=unrolled(g.body), masks=where_it_is(g.masks))
        decided = [c for c in g.masks if isinstance(c, x.Num)]
        if any(c.value == 0 for c in decided) or x.nowhere(g.masks):
            continue
        if decided:
            g = replace(g, masks=tuple(c for c in g.masks if not isinstance(c, x.Num)))
        whole = _told_by_value(g, unseen)
        node = next((e for e in _opened(g) if e not in whole and _liftable(e, g)), None)
        if node is None:
            pinned = _pin(g, kept)
            if pinned is None:
                yield g
            else:
                work.append(pinned)
        elif isinstance(node, x.Where):
            splits += 1
            if splits >= MOST_CASES:
                where = f"the density of {f.about}" if f.about else "a factor"
                text = f"the conditions in {where} make more than {MOST_CASES} cases: each beside others doubles them"
                hint = "write a sum of them as numbers, `a * c + b * (1 - c)` with a condition c, or a given of 0 and 1"
                raise ModelError(Problem("E109", text, f.span, hint))
            for cond, branch in ((node.cond, node.then), (x.fn("not", node.cond), node.other)):
                taken = _with_value(g, node, branch)
                work.append(replace(taken, masks=(*taken.masks, cond)))
        else:
            work += list(reversed(_cases(g, node, kept)))


def _told_by_value(f: Factor, unseen: frozenset[str]) -> frozenset[Expr]:
    """The conditionals of a point mass whose condition holds a latent."""
    masses = [e for e in x.walk(f.body) if isinstance(e, x.Fn) and e.name == "eq"] if unseen else []
    inside = {e for mass in masses for e in x.walk(mass) if isinstance(e, x.Where)}
    return frozenset(e for e in inside if x.variables(e.cond) & unseen)


def _opened(f: Factor) -> Iterator[x.Choose | x.Where]:
    """What is opened of a factor: lists and conditionals. Conditionals inside a condition are numbers, and stay."""
    yield from (e for e in x.walk(f.body) if isinstance(e, x.Choose | x.Where))
    yield from (e for c in f.masks for e in x.walk(c) if isinstance(e, x.Choose))


def _liftable(e: Expr, f: Factor) -> bool:
    index = e.at if isinstance(e, x.Choose) else None
    if isinstance(index, Ix):
        return index in f.plates
    return all(i in f.plates for i in x.free(e.cond if isinstance(e, x.Where) else index.value))  # type: ignore[union-attr]


def _cases(f: Factor, node: x.Choose, kept: tuple[Ix, ...]) -> list[Factor]:
    out = []
    for value in range(len(node.options)):
        if isinstance(node.at, Ix) and node.at not in kept:
            out.append(pin(f, node.at, value))
        else:
            assert isinstance(node.at, Ix | DataIx)
            option, at = node.options[value], x.value_of(node.at)
            here = x.fn("eq", at, x.num(value)) if isinstance(node.at, Ix) else x.sel(at, value)
            taken = _with_value(f, node, option)
            out.append(replace(taken, masks=(*taken.masks, here)))
    return out


def _with_value(f: Factor, node: Expr, value: Expr) -> Factor:
    """The factor where a node has a value: in what it adds, and in the conditions beside it."""
    return replace(f, body=x.put(f.body, node, value), masks=tuple(x.put(c, node, value) for c in f.masks))


def pin(f: Factor, ix: Ix, value: int) -> Factor:
    """The part of a factor in which an index has one value."""
    to: Mapping[Ix, Idx] = {ix: value}
    gates = tuple(x.Sel(x.substitute(g.of, to), value if g.at == ix else g.at) for g in f.gates)
    masks = tuple(x.substitute(c, to) for c in f.masks)
    return replace(
        f, gates=gates, masks=masks, body=x.substitute(f.body, to), plates=tuple(p for p in f.plates if p != ix)
    )


def _pin(f: Factor, kept: tuple[Ix, ...]) -> Factor | None:
    """A mask `k == 1` on a gate pins the gate, as `k != 1` does with two levels."""
    for c in f.masks:
        match c:
            case x.Fn("eq" | "ne" as op, (x.Val(k), x.Num(v))) | x.Fn("eq" | "ne" as op, (x.Num(v), x.Val(k))):
                pass
            case x.Fn("not", (x.Fn("eq" | "ne" as inner, (x.Val(k), x.Num(v))),)):
                op = "ne" if inner == "eq" else "eq"
            case x.Delta(Ix() as k, int(v)):
                op = "eq"
            case _:
                continue
        if k not in f.plates or k in kept:
            continue
        if op == "eq":
            return pin(f, k, int(v))
        if k.dim == "2" and v in (0, 1):
            return pin(f, k, 1 - int(v))
    return None
