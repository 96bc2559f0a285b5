"""The language's functions, each as the element of its value: one rule a function, matrices taken apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import Expr, Idx, Ix
from emdsl.derive.joint.matrices import determinant, inverse
from emdsl.derive.joint.scope import Element, Scope, operand, size_number, summed
from emdsl.errors import ModelError, Problem
from emdsl.language import model as m

Rule = Callable[[Element, m.Call, tuple[Idx, ...], Scope], Expr]


def call(element: Element, e: m.Call, idx: tuple[Idx, ...], scope: Scope) -> Expr:
    """The element of a function's value at `idx`; a function without a rule of its own is elementwise."""
    if e.fn in _REDUCTIONS and len(e.args) == 1 and e.args[0].shape:
        return _reduce(element, e, scope)
    rule = _RULES.get(e.fn)
    if rule is not None:
        return rule(element, e, idx, scope)
    if e.fn in ("add", "sub"):
        return x.add(*_gammas_met(_summands(element, e, idx, scope)))
    arguments = [element(a, operand(a, idx), scope) for a in e.args]
    elementwise = _ELEMENTWISE.get(e.fn)
    return elementwise(*arguments) if elementwise is not None else x.fn(e.fn, *arguments)


def _gammas_met(terms: list[Expr]) -> list[Expr]:
    """`lgamma(a + 1) - lgamma(a)` is `log(a)`: a Beta(1, a) has a closed maximum."""
    found = [(n, *x.split_number(t)) for n, t in enumerate(terms)]
    gammas = {n: (c, e.args[0]) for n, c, e in found if isinstance(e, x.Fn) and e.name == "lgamma"}
    out = list(terms)
    for n, (c, a) in gammas.items():
        next_ = x.add(a, x.ONE)
        twin = next((k for k, (d, b) in gammas.items() if d == -c and b == next_ and out[k] != x.ZERO), None)
        if twin is not None:
            out[n], out[twin] = x.mul(x.num(-c), x.fn("log", a)), x.ZERO
    return out


def _summands(element: Element, e: m.Call, idx: tuple[Idx, ...], scope: Scope) -> list[Expr]:
    """The terms of a sum that is written as sums of sums: put together once, or long ones take the square of their
    length."""
    out: list[Expr] = []
    stack: list[tuple[m.Expr, tuple[Idx, ...], bool]] = [(e, idx, True)]
    while stack:
        part, at, plus = stack.pop()
        if isinstance(part, m.Call) and part.fn in ("add", "sub"):
            first, second = part.args
            stack += [(second, operand(second, at), plus is (part.fn == "add")), (first, operand(first, at), plus)]
        else:
            value = element(part, at, scope)
            out.append(value if plus else x.neg(value))
    return out


def _fresh(e: m.Expr, axis: int, scope: Scope) -> Ix:
    """A dummy over one axis of a matrix. Raises `ModelError` where the axis is ragged."""
    found = x.fresh(scope.dim(e.shape[axis]))
    if found.dim.endswith("[max]"):
        raise ModelError(
            Problem("E102", "a matrix whose size differs by row has no inverse or determinant here", e.span)
        )
    return found


def _reduce(element: Element, e: m.Call, scope: Scope) -> Expr:
    (a,) = e.args
    if e.fn == "sum":
        return _total(element, a, (), scope)
    if e.fn == "logsumexp":
        terms = summed(a.shape[0], scope, a.span, lambda k: x.fn("exp", element(a, (k,), scope)))
        return x.fn("log", terms)
    n = e.args[0].shape[0]
    size = n.constant if isinstance(n, m.Dim) else None
    if len(a.shape) != 1:
        raise ModelError(Problem("E102", f"{e.fn} of a matrix needs its rows taken one by one", e.span))
    if size is None:
        return _extreme(element, e, scope)
    items = [element(a, (i,), scope) for i in range(size)]
    out = items[0]
    for item in items[1:]:
        out = x.fn(e.fn, out, item)
    return out


def _extreme(element: Element, e: m.Call, scope: Scope) -> Expr:
    """The largest or smallest entry of a vector of any length: the mean of those beyond which none lies."""
    (a,) = e.args
    size, beyond = a.shape[0], "gt" if e.fn == "max" else "lt"

    def is_extreme(k: Idx) -> Expr:
        own = element(a, (k,), scope)
        others = summed(size, scope, a.span, lambda j: x.fn(beyond, element(a, (j,), scope), own))
        return x.fn("eq", others, x.ZERO)

    whole = summed(size, scope, a.span, lambda k: x.mul(is_extreme(k), element(a, (k,), scope)))
    return x.mul(whole, x.power(summed(size, scope, a.span, is_extreme), x.num(-1)))


def _total(element: Element, a: m.Expr, done: tuple[Idx, ...], scope: Scope) -> Expr:
    """The sum of all elements of an array whose first indices are taken."""
    if len(done) == len(a.shape):
        return element(a, done, scope)
    return summed(a.shape[len(done)], scope, a.span, lambda k: _total(element, a, (*done, k), scope))


def _matmul(element: Element, e: m.Call, idx: tuple[Idx, ...], scope: Scope) -> Expr:
    a, b = e.args
    left, right = (idx[:1], idx[1:]) if len(a.shape) == 2 else ((), idx)

    def product(k: Idx) -> Expr:
        return x.mul(element(a, (*left, k), scope), element(b, (k, *right), scope))

    return summed(a.shape[-1], scope, a.span, product)


def _transpose(element: Element, e: m.Call, idx: tuple[Idx, ...], scope: Scope) -> Expr:
    return element(e.args[0], (idx[1], idx[0]), scope)


def _diag(element: Element, e: m.Call, idx: tuple[Idx, ...], scope: Scope) -> Expr:
    (a,) = e.args
    if len(a.shape) == 2:
        return element(a, (idx[0], idx[0]), scope)
    return x.mul(x.delta(idx[0], idx[1]), element(a, idx[:1], scope))


def _eye(element: Element, e: m.Call, idx: tuple[Idx, ...], scope: Scope) -> Expr:
    return x.delta(idx[0], idx[1])


def _zeros(element: Element, e: m.Call, idx: tuple[Idx, ...], scope: Scope) -> Expr:
    return x.ZERO


def _ones(element: Element, e: m.Call, idx: tuple[Idx, ...], scope: Scope) -> Expr:
    return x.ONE


def _outer(element: Element, e: m.Call, idx: tuple[Idx, ...], scope: Scope) -> Expr:
    return x.mul(element(e.args[0], idx[:1], scope), element(e.args[1], idx[1:], scope))


def _trace(element: Element, e: m.Call, idx: tuple[Idx, ...], scope: Scope) -> Expr:
    (a,) = e.args
    return summed(a.shape[0], scope, a.span, lambda k: element(a, (k, k), scope))


def _quad(element: Element, e: m.Call, idx: tuple[Idx, ...], scope: Scope) -> Expr:
    a, v = e.args

    def product(i: Idx, j: Idx) -> Expr:
        return x.mul(element(a, (i, j), scope), element(v, (i,), scope), element(v, (j,), scope))

    size, at = v.shape[0], v.span
    return summed(size, scope, at, lambda i: summed(size, scope, at, lambda j: product(i, j)))


def _inv(element: Element, e: m.Call, idx: tuple[Idx, ...], scope: Scope) -> Expr:
    i, j = _fresh(e.args[0], 0, scope), _fresh(e.args[0], 0, scope)
    return inverse(i, j, element(e.args[0], (i, j), scope), (idx[0], idx[1]))


def _logdet(element: Element, e: m.Call, idx: tuple[Idx, ...], scope: Scope) -> Expr:
    i, j = _fresh(e.args[0], 0, scope), _fresh(e.args[0], 0, scope)
    return determinant(i, j, element(e.args[0], (i, j), scope))


def _softmax(element: Element, e: m.Call, idx: tuple[Idx, ...], scope: Scope) -> Expr:
    (a,) = e.args
    norm = summed(a.shape[0], scope, a.span, lambda k: x.fn("exp", element(a, (k,), scope)))
    return x.mul(x.fn("exp", element(a, idx, scope)), x.power(norm, x.num(-1)))


def _cumsum(element: Element, e: m.Call, idx: tuple[Idx, ...], scope: Scope) -> Expr:
    (a,) = e.args

    def before(k: Idx) -> Expr:
        return x.mul(x.fn("le", x.value_of(k), x.value_of(idx[0])), element(a, (k,), scope))

    return summed(a.shape[0], scope, a.span, before)


def _concat(element: Element, e: m.Call, idx: tuple[Idx, ...], scope: Scope) -> Expr:
    """Joined vectors and scalars, cut at offsets known from the sizes."""
    offset: Expr = x.ZERO
    parts: list[tuple[Expr, m.Expr]] = []
    for a in e.args:
        parts.append((offset, a))
        offset = x.add(offset, size_number(a.shape[0], scope) if a.shape else x.ONE)
    at = x.value_of(idx[0])
    whole = x.DataIx(x.Fn("value", (at,))) if isinstance(idx[0], Ix) and len(parts) > 1 else idx[0]

    def taken(start: Expr, a: m.Expr) -> Expr:
        """A part at its own positions: those of the whole are more than it has, and are kept in its range."""
        place = whole if start == x.ZERO else x.as_index(x.add(at, x.neg(start)))
        return element(a, (place,) if a.shape else (), scope)

    def from_part(k: int) -> Expr:
        """What the parts from number k on hold; a literal position builds the part that it is in, and no other."""
        if k == len(parts) - 1:
            return taken(*parts[k])
        return x.where(x.fn("ge", at, parts[k + 1][0]), partial(from_part, k + 1), partial(taken, *parts[k]))

    return from_part(0)


def _lchoose(element: Element, e: m.Call, idx: tuple[Idx, ...], scope: Scope) -> Expr:
    n, k = (element(a, operand(a, idx), scope) for a in e.args)
    one = x.ONE
    return x.add(x.fn("lgamma", x.add(n, one)), x.neg(x.fn("lgamma", x.add(k, one))),
                 x.neg(x.fn("lgamma", x.add(n, x.neg(k), one))))  # fmt: skip


def _beta_ln(element: Element, e: m.Call, idx: tuple[Idx, ...], scope: Scope) -> Expr:
    a, b = (element(v, operand(v, idx), scope) for v in e.args)
    return x.add(*_gammas_met([x.fn("lgamma", a), x.fn("lgamma", b), x.neg(x.fn("lgamma", x.add(a, b)))]))


_REDUCTIONS = frozenset({"sum", "logsumexp", "min", "max"})

_ELEMENTWISE: Mapping[str, Callable[..., Expr]] = {
    "mul": x.mul,
    "div": lambda a, b: x.mul(a, x.power(b, x.num(-1))),
    "neg": x.neg,
    "pow": x.power,
    "sqrt": lambda a: x.power(a, x.HALF),
    "exp": lambda a: x.fn("exp", a),
    "log": lambda a: x.fn("log", a),
}

_RULES: Mapping[str, Rule] = {
    "matmul": _matmul,
    "transpose": _transpose,
    "diag": _diag,
    "eye": _eye,
    "zeros": _zeros,
    "ones": _ones,
    "outer": _outer,
    "trace": _trace,
    "quad": _quad,
    "inv": _inv,
    "logdet": _logdet,
    "softmax": _softmax,
    "cumsum": _cumsum,
    "concat": _concat,
    "lchoose": _lchoose,
    "beta_ln": _beta_ln,
}
