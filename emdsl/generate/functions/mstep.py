"""Printing the M-step: each update under its rule, in the order of the plan."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import assert_never

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import Expr, Ix
from emdsl.derive.updates.newton import Newton, Together
from emdsl.derive.updates.penalised import second_derivative
from emdsl.derive.updates.quadratic import Column, Linear
from emdsl.derive.updates.rules import Closed, Numeric, Simplex, Spread, Update
from emdsl.generate.context import Function
from emdsl.generate.functions.numeric import emit_numeric, forget
from emdsl.generate.lines.arrays import Array, Leaf
from emdsl.generate.lines.limits import bounds
from emdsl.generate.lines.spelling import references
from emdsl.language import model as m


def emit_update(f: Function, u: Update) -> None:
    """The lines of one update; the parameter's local name is bound to its new value."""
    f.emitter.comment(f"{references(f.numbers.solved(u))} {', '.join(u.params)}: {u.kind}; {u.reason}", inner=False)
    match u.rule:
        case Simplex():
            _simplex(f, u.params[0], u.rule)
        case Linear():
            _linear(f, u.rule)
        case Spread():
            _spread(f, u.params[0], u.rule)
        case Closed():
            _closed(f, u.params[0], u.rule)
        case Newton():
            _newton(f, u.params[0], u.rule)
        case Together():
            _together(f, u.params, u.rule)
        case Numeric():
            if not u.rule.data:
                emit_numeric(f, u.params, u.rule)
        case _:
            assert_never(u.rule)
    forget(f, u.params)


def _code(f: Function, name: str) -> str:
    return f.emitter.leaf(name).code


def _assign(f: Function, name: str, code: str) -> None:
    f.emitter.outer.append(f"{_code(f, name)} = {code}")


def _exact(f: Function, e: Expr, axes: tuple[Ix, ...]) -> str:
    """Code of an expression with exactly these axes."""
    return f.emitter.broadcast(f.emitter.value(e), axes).code


def _simplex(f: Function, name: str, rule: Simplex) -> None:
    _assign(f, name, f'shares({_exact(f, rule.counts, rule.axes)}, "{name}", {_code(f, name)}, policy)')


def _spread(f: Function, name: str, rule: Spread) -> None:
    em = f.emitter
    one = x.Num(1 / x.split_number(rule.weight)[0])  # a number that stands in both falls out of C / a
    parts = x.mul(one, rule.scatter), x.mul(one, rule.weight)
    scatter = em.name(f"scatter_{name}", Array(_exact(f, parts[0], rule.axes), rule.axes))
    weight = em.name(f"weight_{name}", Array(_exact(f, parts[1], rule.axes[:-2]), rule.axes[:-2]))
    old = _code(f, name)
    scale = 'prepared["the scale"]'
    if rule.precision:
        before = f"inverse(cholesky({old}))"
        covariance = f'spread(-{scatter.code}, {weight.code}, "{name}", {before}, policy, {scale})'
        _assign(f, name, f"inverse(cholesky({covariance}))")
    else:
        _assign(f, name, f'spread({scatter.code}, {weight.code}, "{name}", {old}, policy, {scale})')


def _linear(f: Function, rule: Linear) -> None:
    em = f.emitter
    batch = rule.batch
    own = [[s for s in c.slots if s not in batch] for c in rule.columns]
    if not rule.second and len(rule.columns) == 1:
        left = em.value(rule.left[0, 0])
        right = em.value(rule.right[0])
        slots = rule.columns[0].slots
        name, code = rule.columns[0].name, f"{em.align(right, slots)} / {em.align(left, slots)}"
        if set(right.axes) | set(left.axes) != set(slots):  # a prior alone, the same for all elements
            code = f"np.broadcast_to({code}, ({', '.join(em.length(i) for i in slots)},))"
        bend = _bend(f, second_derivative(rule), slots)
        _assign(f, name, f'checked({code}, "{name}", {_code(f, name)}, policy, -np.inf, np.inf{bend})')
        return
    if rule.centred:
        _centred(f, rule, own)
        return
    rows, sides = [], []
    carried = _carried(rule, batch)
    for i in range(len(rule.columns)):
        cells = []
        for j in range(len(rule.columns)):
            second = [rule.second[s] for s in own[j]]
            block = rule.left.get((i, j), x.ZERO)
            axes = (*carried, *own[i], *second)
            cells.append(_flattened(f, block, axes, len(carried), len(own[i])))
        rows.append(f"np.concatenate([{', '.join(cells)}], axis=-1)" if len(cells) > 1 else cells[0])
        sides.append(_flat_side(f, rule.right[i], batch, own[i]))
    h = em.name("left", Array(f"np.concatenate([{', '.join(rows)}], axis=-2)" if len(rows) > 1 else rows[0], ()))
    g = em.name("right", Array(f"np.concatenate([{', '.join(sides)}], axis=-1)" if len(sides) > 1 else sides[0], ()))
    spread = ", ".join(":" if b in carried else "None" for b in batch)
    if any(b not in carried for b in batch):
        h = Array(f"{h.code}[{spread}, :, :]", ())
    olds = ", ".join(_flat_old(f, c, batch, o) for c, o in zip(rule.columns, own, strict=True))
    names = " and ".join(c.name for c in rule.columns)
    old = f"np.concatenate([{olds}], axis=-1)" if len(rule.columns) > 1 else olds
    solved = em.name("solved", Array(f'solve_normal({h.code}, {g.code}, "{names}", {old}, policy)', ()))
    at = "0"
    for c, o in zip(rule.columns, own, strict=True):
        width = " * ".join(em.size(s.dim) for s in o) or "1"
        end = f"{at} + {width}" if at != "0" else width
        part = f"{solved.code}[..., {at}:{end}]" if len(rule.columns) > 1 else solved.code
        shape = ", ".join(em.length(i) for i in (*batch, *o))
        code = f"{part}.reshape({shape})" if shape else f"{part}[..., 0]"
        order = (*batch, *o)
        _assign(f, c.name, em.transposed(Array(code, order), c.slots))
        at = end


def _centred(f: Function, rule: Linear, own: Sequence[Sequence[Ix]]) -> None:
    """The same with vectors that sum to 0 among the unknowns: block by block, a diagonal as a vector."""
    em, batch = f.emitter, rule.batch
    carried = _carried(rule, batch)
    apart = "".join(": , " if b in carried else "None, " for b in batch).replace(" ,", ",")
    apart = f"[{apart}...]" if len(carried) < len(batch) else ""
    rows = []
    for i in range(len(own)):
        cells = []
        for j in range(len(own)):
            diagonal = rule.diagonal(i) if i == j else None
            if diagonal is not None:
                cells.append(_flat_side(f, diagonal, carried, own[i]) + apart)
            else:
                axes = (*carried, *own[i], *(rule.second[s] for s in own[j]))
                cells.append(_flattened(f, rule.left.get((i, j), x.ZERO), axes, len(carried), len(own[i])) + apart)
        rows.append(f"[{', '.join(cells)}]")
    left = em.name("left", Array(f"[{', '.join(rows)}]", ()))
    sides = [_flat_side(f, e, batch, o) for e, o in zip(rule.right, own, strict=True)]
    right = em.name("right", Array(f"[{', '.join(sides)}]", ()))
    olds = ", ".join(_flat_old(f, c, batch, o) for c, o in zip(rule.columns, own, strict=True))
    names = " and ".join(c.name for c in rule.columns)
    lengths = ", ".join(em.size(o[-1].dim) if o and o[-1] in rule.centred else "0" for o in own)
    call = f'solve_centred({left.code}, {right.code}, "{names}", [{olds}], policy, [{lengths}])'
    solved = em.name("solved", Array(call, ()))
    for n, (c, o) in enumerate(zip(rule.columns, own, strict=True)):
        order = (*batch, *o)
        shape = ", ".join(em.length(i) for i in order)
        code = f"{solved.code}[{n}].reshape({shape})" if shape else f"{solved.code}[{n}][0]"
        _assign(f, c.name, em.transposed(Array(code, order), c.slots))


def _carried(rule: Linear, batch: tuple[Ix, ...]) -> tuple[Ix, ...]:
    free = {i for e in rule.left.values() for i in x.free(e)}
    return tuple(b for b in batch if b in free)


def _flattened(f: Function, e: Expr, axes: tuple[Ix, ...], lead: int, first: int) -> str:
    em = f.emitter
    value = em.broadcast(em.value(e), axes)
    shape = [em.length(i) for i in axes]
    a = " * ".join(shape[lead : lead + first]) or "1"
    b = " * ".join(shape[lead + first :]) or "1"
    return (
        f"{value.wrapped}.reshape({', '.join([*shape[:lead], a, b])})"
        if value.axes
        else f"np.full(({a}, {b}), {value.code})"
    )


def _flat_side(f: Function, e: Expr, batch: tuple[Ix, ...], own: Sequence[Ix]) -> str:
    em = f.emitter
    axes = (*batch, *own)
    value = em.broadcast(em.value(e), axes)
    shape = [em.length(i) for i in batch] + [" * ".join(em.length(i) for i in own) or "1"]
    return (
        f"{value.wrapped}.reshape({', '.join(shape)})"
        if value.axes
        else f"np.full(({', '.join(shape)},), {value.code})"
    )


def _flat_old(f: Function, c: object, batch: tuple[Ix, ...], own: Sequence[Ix]) -> str:
    assert isinstance(c, Column)
    em = f.emitter
    code = em.transposed(Array(_code(f, c.name), c.slots), (*batch, *own))
    shape = [em.length(i) for i in batch] + [" * ".join(em.length(i) for i in own) or "1"]
    return f"np.reshape({code}, ({', '.join(shape)},))"


def _limits(v: m.Variable) -> tuple[str, str]:
    low, high = bounds(v)
    least, most = (str(e) if isfinite(e) else f"{'-' * (e < 0)}np.inf" for e in v.domain.ends)
    return least if low == "None" else low, most if high == "None" else high


def _closed(f: Function, name: str, rule: Closed) -> None:
    v = f.plan.joint.model.variable(name)
    low, high = _limits(v)
    bounded = v.domain.lower is not None or v.domain.upper is not None  # an end of it may be better than any root
    if len(rule.root.candidates) == 1 and (not bounded or low == "0.0"):
        code = _exact(f, rule.root.value, rule.axes)
    else:
        candidates = [_exact(f, c, rule.axes) for c in rule.root.computed or rule.root.candidates]
        value = x.add(*(x.mul(s.coefficient, s.function) for s in rule.functions))
        objective = _function_of(f, (name,), (value,), rule.axes, f"objective_of_{name}")
        endless = f", {_endless(f, rule)}" if low == "0.0" and rule.root.endless else ""
        code = f"best_root([{', '.join(candidates)}], {objective}, {low}, {high}{endless})"
    bend = "" if code.startswith("best_root") else _bend(f, second_derivative(rule, v.domain.kind), rule.axes)
    if v.domain.kind == "positive" and low == "0.0":
        _assign(
            f, name,
            f'positive({code}, "{name}", {_code(f, name)}, policy, {_floor(f, name, rule)}, {_endless(f, rule)}'
            f"{_ceiling(f, name)}{bend})",
        )  # fmt: skip
        if high != "np.inf":
            _assign(f, name, f"np.minimum({_code(f, name)}, {high})")
    else:
        _assign(f, name, f'checked({code}, "{name}", {_code(f, name)}, policy, {low}, {high}{bend})')


def _bend(f: Function, second: Expr | None, axes: Sequence[Ix]) -> str:
    """The last argument where a root may be that of a minimum."""
    return "" if second is None else f", bend={_exact(f, second, tuple(axes))}"


def _endless(f: Function, rule: Closed) -> str:
    """What the functions that have no value at 0 weigh in Q: where it is 0, Q stays bounded as v goes to 0.

    Beside a single root the log's weight tells: where that is 0 and another's is not, the root is no number.
    """
    root = rule.root
    if root.endless is None:
        return "1.0"
    found = [rule.functions[n] for n in root.endless]
    if len(root.candidates) == 1:
        found = [s for s in found if isinstance(s.function, x.Fn) and s.function.name == "log"] or found
    weights = [s.coefficient for s in found]
    weight = weights[0] if len(weights) == 1 else x.add(*(x.fn("abs", c) for c in weights))
    return "0.0" if weight == x.ZERO else _exact(f, weight, rule.axes)


def _floor(f: Function, name: str, rule: Closed) -> str:
    """Below this a positive root is rounding: a scale of centred data, or beside that of data as they are.

    A variance is rounding below 1e-14 of that of centred data, a deviation below 1e-7.
    """
    power = f.plan.scale_power.get(name)
    if power in (1, 2):
        return f'{"1e-7" if power == 1 else "1e-14"} * prepared["the spread"] ** {power}'
    share = next((SHARES[s.function.exponent] for s in rule.functions
                  if isinstance(s.function, x.Pow) and s.function.exponent in SHARES), "")  # fmt: skip
    whole = _of_data_alone(rule.root.value, {v.name for v in f.plan.joint.model.of_kind("param")})
    if power is not None or not share or len(rule.root.candidates) > 1 or whole in (rule.root.value, x.ZERO):
        return "0.0"
    return f"{share} * {_exact(f, whole, rule.axes)}"


SHARES = {x.num(-2): "1e-7", x.num(-1): "1e-14"}  # of a deviation, of a variance: what rounding leaves of differences


def _of_data_alone(e: Expr, params: set[str]) -> Expr:
    """A root without the terms by which what parameters explain is taken off."""

    def kept(part: Expr) -> Expr | None:
        if not isinstance(part, x.Add) or not params & x.variables(part):
            return None
        return x.add(*(t for t in part.terms if not params & x.variables(t)))

    return x.rebuild(e, kept)


def _ceiling(f: Function, name: str) -> str:
    """The last argument where a root beyond it is rounding: a precision of centred data."""
    return ', 1e14 / prepared["the spread"] ** 2' if f.plan.scale_power.get(name) == -2 else ""


def _function_of(
    f: Function, params: tuple[str, ...], values: tuple[Expr, ...], axes: tuple[Ix, ...], hint: str
) -> str:
    """A nested function of parameters of one shape, everything that lacks them hoisted out of the function."""
    em = f.emitter
    arguments = {n: em.namer.fresh(_code(f, n)) for n in params}
    original = em.leaf
    kept, lines, chunk = dict(em.known), em.lines, em.chunk
    forget(f, params)
    em.lines = []

    def leaf(n: str) -> Leaf:
        return Leaf(arguments[n], tuple(range(len(axes))), True) if n in arguments else original(n)

    em.leaf = leaf
    results = ", ".join(em.broadcast(em.value(v), axes).code for v in values)
    body = em.lines
    em.leaf, em.lines, em.chunk = original, lines, chunk
    em.named.clear()
    inside = [e for e, a in em.known.items() if a.inner]
    for e in inside:
        del em.known[e]
    em.known.update({e: a for e, a in kept.items() if e not in em.known})
    target = em.namer.fresh(hint)
    em.outer += [
        f"def {target}({', '.join(arguments.values())}):",
        *(f"    {line}" for line in body),
        f"    return {results}",
    ]
    return target


def _newton(f: Function, name: str, rule: Newton) -> None:
    v = f.plan.joint.model.variable(name)
    target = _function_of(f, (name,), (rule.value, rule.score, rule.curvature), rule.axes, f"objective_of_{name}")
    low, high = _limits(v)
    code = f'maximise_scalar({target}, {_code(f, name)}, "{v.domain.kind}", {low}, {high})'
    _assign(f, name, f'checked({code}, "{name}", {_code(f, name)}, policy, {low}, {high})')


def _together(f: Function, params: tuple[str, ...], rule: Together) -> None:
    em, model = f.emitter, f.plan.joint.model
    target = _function_of(f, params, rule.parts, rule.axes, f"objective_of_{'_'.join(params)}")
    found = em.namer.fresh("found")
    start, kinds, limits = (
        ", ".join(codes)
        for codes in (
            [_code(f, n) for n in params],
            [f'"{model.variable(n).domain.kind}"' for n in params],
            [f"({', '.join(bounds(model.variable(n)))})" for n in params],
        )
    )
    step = references(f.numbers.climb(params[0], "step"))
    em.outer.append(f"{found} = maximise_elements({target}, [{start}], [{kinds}], [{limits}])  # {step}")
    for k, n in enumerate(params):
        low, high = _limits(model.variable(n))
        _assign(f, n, f'checked({found}[{k}], "{n}", {_code(f, n)}, policy, {low}, {high})')
