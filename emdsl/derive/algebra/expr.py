"""Scalar expressions with explicit, typed indices: the algebra every derivation is written in.

A tensor expression of the language becomes a scalar expression in the elements of tensors:
`X[n] @ beta` is `Sum(p, El(X, n p) * El(beta, p))`. Constructors (`add`, `mul`, `power`, `fn`)
keep a light normal form; nothing is opened that need not be. The nodes themselves are in `nodes`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction

from emdsl.derive.algebra.alpha import alpha
from emdsl.derive.algebra.facts import (
    COMPARISONS,
    DECIDED,
    UNIT,
    beside_a_share,
    decided,
    factors_of,
    float_power,
    is_indicator,
    over_mass,
    positive,
    rising,
    short,
    split_number,
    terms_of,
)  # fmt: skip
from emdsl.derive.algebra.nodes import (
    HALF,
    ONE,
    ZERO,
    Add,
    Choose,
    DataIx,
    Delta,
    El,
    Expr,
    Fn,
    Idx,
    Ix,
    LogDet,
    MatInv,
    Mul,
    Num,
    Pow,
    Sel,
    SizeN,
    Sort,
    Sum,
    Val,
    Where,
    children,
    count_parts,
    free,
    fresh,
    kept,
    num,
    variables,
    walk,
)
from emdsl.derive.algebra.positions import as_index, delta, sel, value_of

__all__ = [
    "COMPARISONS", "HALF", "ONE", "ZERO", "Add", "Choose", "DataIx", "Delta", "El", "Expr", "Fn", "Idx", "Ix", "LogDet",
    "MatInv", "Mul", "Num", "Pow", "Rebuilding", "Sel", "SizeN", "Sort", "Sum", "Val", "Where", "add", "alpha",
    "as_index", "children", "count_parts", "delta", "extent", "factors_of", "fn", "free", "fresh", "is_indicator",
    "mul", "neg", "nowhere", "num", "positive", "power", "put", "rebuild", "refresh", "rising", "sel", "split_number",
    "substitute", "terms_of", "total", "totals", "value_of", "variables", "walk", "where",
]  # fmt: skip


@kept
def add(*terms: Expr) -> Expr:
    """Sum in normal form: flat, numbers folded, equal terms (up to bound names) merged."""
    total: Fraction | float = Fraction(0)
    merged: dict[Expr, tuple[Expr, Fraction | float]] = {}
    for t in _flat(terms):
        if isinstance(t, Num):
            total = total + t.value
            continue
        c, rest = split_number(t)
        key = alpha(rest)
        met = merged.get(key)
        merged[key] = (rest, c) if met is None else (met[0], met[1] + c)
    out = [rest if c is UNIT or c == 1 else mul(Num(c), rest) for rest, c in merged.values() if c is UNIT or c != 0]
    if total != 0 or not out:
        out.append(num(total))
    return out[0] if len(out) == 1 else Add(tuple(out))


def _flat(terms: tuple[Expr, ...]) -> Iterator[Expr]:
    stack = list(reversed(terms))
    while stack:
        t = stack.pop()
        if isinstance(t, Add):
            stack.extend(reversed(t.terms))
        else:
            yield t


@kept
def mul(*factors: Expr) -> Expr:
    """Product in normal form: flat, number first, powers of equal bases merged."""
    c: Fraction | float = UNIT
    powers: dict[Expr, list[Expr]] = {}
    stack = list(reversed(factors))
    while stack:
        f = stack.pop()
        match f:
            case Mul():
                stack.extend(reversed(f.factors))
            case Num():
                c = f.value if c is UNIT else c * f.value
            case Pow():
                powers.setdefault(f.base, []).append(f.exponent)
            case _:
                powers.setdefault(f, []).append(ONE)
    if (c is not UNIT and c == 0) or nowhere(powers):
        return ZERO
    if one := over_mass(powers):
        exponents = [mul(e.args[0], add(*powers.pop(e))) for e in one]
        return mul(Num(c), fn("exp", add(*exponents)), *(power(b, add(*es)) for b, es in powers.items()))
    out: list[Expr] = []
    for base, exponents in powers.items():
        if len(exponents) == 1:
            p = base if exponents[0] is ONE else Pow(base, exponents[0])
        elif isinstance(base, Sel | Delta) or is_indicator(base):
            p = base
        else:
            p = power(base, add(*exponents))
        if isinstance(p, Num):
            c = c * p.value
        elif isinstance(p, Mul):
            rest = list(powers.items())[len(out) + 1 :]
            return mul(Num(c), *out, *p.factors, *(power(b, add(*xs)) for b, xs in rest))
        else:
            out.append(p)
    plain = c is UNIT or c == 1
    if len(out) == 1 and isinstance(out[0], Add) and not plain:
        return add(*(mul(Num(c), t) for t in out[0].terms))
    if not plain or not out:
        out.insert(0, Num(c))
    return out[0] if len(out) == 1 else Mul(tuple(out))


def nowhere(factors: Iterable[Expr]) -> bool:
    """Whether one integer is to be at two places: [y = 0] [y = 1] is 0."""
    at: dict[Expr, int] = {}
    return any(isinstance(f, Sel) and isinstance(f.at, int) and at.setdefault(f.of, f.at) != f.at for f in factors)


@kept
def power(base: Expr, exponent: Expr) -> Expr:
    """`base ** exponent`; powers of powers and of products are opened where every sign allows it."""
    if exponent == ONE or base == ONE:
        return base
    if exponent == ZERO:
        return ONE
    whole = isinstance(exponent, Num) and isinstance(exponent.value, Fraction) and exponent.value.denominator == 1
    match base, exponent:
        case Num(b), Num(x) if whole and -1000 < x < 1000:
            if b == 0:
                return ZERO if x > 0 else Pow(base, exponent)
            return num(b ** int(x)) if short(b, x) else num(float_power(b, x))
        case Num(b), Num(x) if b > 0 and (not short(b, x) or not (isinstance(b, Fraction) and isinstance(x, Fraction))):
            return num(float_power(b, x))
        case Pow(), _ if whole or positive(base.base):
            return power(base.base, mul(base.exponent, exponent))
        case Mul(), _ if whole or (
            (isinstance(exponent, Num) or _undone(base, exponent)) and all(positive(f) for f in base.factors)
        ):
            return mul(*(power(f, exponent) for f in base.factors))
        case Fn("exp", (a,)), _:
            return fn("exp", mul(a, exponent))
        case ((Sel() | Delta()), Num(x)) if x > 0:
            return base
    return Pow(base, exponent)


def _undone(base: Mul, exponent: Expr) -> bool:
    """Whether a factor is a root that this power undoes: else a ratio to a large power is one number, and stays it."""
    return any(isinstance(f, Pow) and isinstance(mul(f.exponent, exponent), Num) for f in base.factors)


@kept
def fn(name: str, *args: Expr) -> Expr:
    """An elementwise function, with the identities that keep densities splittable."""
    if name == "log":
        return _log(args[0])
    if name == "exp" and isinstance(args[0], Fn) and args[0].name == "log":
        return args[0].args[0]
    if name == "exp" and args[0] == ZERO:
        return ONE
    if name == "whole" and not isinstance(args[0], Add):
        return args[0]
    if name in ("cos", "sin") and isinstance(args[0], Mul) and split_number(args[0])[0] < 0:
        turned = Fn(name, (neg(args[0]),))  # cos(-a) = cos a, sin(-a) = -sin a
        return turned if name == "cos" else neg(turned)
    if name == "log1p" and isinstance(args[0], Mul) and args[0].factors[0] == num(-1) and len(args[0].factors) == 2:
        if isinstance(args[0].factors[1], El):  # as the Beta family has it, whose statistic it is
            return fn("log", add(ONE, args[0]))
    if name == "log1p" and isinstance(args[0], Fn) and args[0].name == "exp":
        return Fn("softplus", args[0].args)
    if name in DECIDED and (folded := decided(name, args)) is not None:
        return folded
    return Fn(name, args)


def _log(a: Expr) -> Expr:
    match a:
        case Num(v) if v == 1:
            return ZERO
        case Fn("exp", (x,)):
            return x
        case Fn("Phi", x):
            return Fn("log_Phi", x)
        case Fn("logistic", (x,)):
            return neg(Fn("softplus", (neg(x),)))
        case Add((Num(one), t)) | Add((t, Num(one))) if one == 1 and (found := _beside_one(t)) is not None:
            return found
        case Pow() if positive(a.base) or _one_sign(a.exponent):
            return mul(a.exponent, _log(a.base))
        case Mul() if sum(not positive(f) for f in a.factors) <= 1:
            return add(*(_log(f) for f in a.factors))
        case Add((s, t)) if (found := _between(s, t) or _between(t, s)) is not None:
            return found
    if isinstance(a, Add):
        if (parts := beside_a_share(a)) is not None and positive(parts[0]):
            return add(_log(parts[0]), _log(add(ONE, mul(*parts[1]))))
        constant = next((t.value for t in a.terms if isinstance(t, Num)), num(1).value)
        if 0 < constant != 1 and positive(scaled := add(*(mul(Num(1 / constant), t) for t in a.terms))):
            return add(_log(Num(constant)), _log(scaled))  # log(c - c t) = log c + log(1 - t)
    return Fn("log", (a,))


def _one_sign(exponent: Expr) -> bool:
    """Whether a power is positive only where its base is: exponents like -1, 1/2 and 3, not 2."""
    return isinstance(exponent, Num) and isinstance(exponent.value, Fraction) and exponent.value.numerator % 2 == 1


def _beside_one(t: Expr) -> Expr | None:
    """log(1 + t) with digits where t is near -1, as 1 - q^k is where k is small; None where 1 + t has them."""
    match split_number(t):
        case -1, Fn("logistic", a):
            return neg(Fn("softplus", a))
        case -1, Fn("Phi", (a,)):
            return Fn("log_Phi", (neg(a),))
        case -1, Fn("exp", a):
            return Fn("log1mexp", a)
        case -1, Pow(base, exponent) if positive(base) and not isinstance(exponent, Num):
            return Fn("log1mexp", (mul(exponent, _log(base)),))
        case 1, Fn("exp", a):
            return Fn("softplus", a)
        case (1 | -1) as sign, Fn("tanh", (a,)):  # 1 + tanh a = 2 logistic(2 a)
            return _log(mul(num(2), Fn("logistic", (mul(Num(2 * sign), a),))))
    return None


def _between(above: Expr, below: Expr) -> Expr | None:
    """log(f(a) - f(b)) of what has digits where f(a) and f(b) have none that differ; None of other differences."""
    match split_number(above), split_number(below):
        case (c, Fn(name, (a,))), (d, Fn(other, (b,))) if name == other and c == -d and c > 0:
            rest = add(_log(Num(c)), Fn("log_rest", (add(b, neg(a)),)))
            if name == "logistic":  # 1 / (1 + exp(-a)) - 1 / (1 + exp(-b)): the logs of both denominators
                return add(rest, neg(Fn("softplus", (neg(a),))), neg(Fn("softplus", (b,))))
            if name in ("exp", "Phi"):
                return add(rest, a) if name == "exp" else add(_log(Num(c)), Fn("log_between", (b, a)))
    return None


def neg(e: Expr) -> Expr:
    """`-e`."""
    return mul(Num(Fraction(-1)), e)


@kept
def total(ix: Ix, body: Expr) -> Expr:
    """`Sum(ix, body)`, with what lacks the index taken out and deltas used up."""
    if body == ZERO:
        return ZERO
    if isinstance(body, Add) and any(ix not in free(t) or _delta_of(t, ix) for t in body.terms):
        return add(*(total(ix, t) for t in body.terms))
    delta = _delta_of(body, ix)
    if delta is not None:
        other = delta.b if delta.a == ix else delta.a
        rest = [f for f in factors_of(body) if f is not delta]
        return substitute(mul(*rest), {ix: other})
    outside = [f for f in factors_of(body) if ix not in free(f)]
    inside = [f for f in factors_of(body) if ix in free(f)]
    if not inside:
        return mul(extent(ix), *outside)
    return mul(*outside, Sum(ix, mul(*inside)))


def totals(ixs: Iterable[Ix], body: Expr) -> Expr:
    """The sum of a body over indices, the first of which stands outermost."""
    for ix in reversed(tuple(ixs)):
        body = total(ix, body)
    return body


def extent(ix: Ix) -> Expr:
    """How many values an index takes."""
    return num(int(ix.dim)) if ix.dim.isdigit() else SizeN(ix.dim)


def _delta_of(body: Expr, ix: Ix) -> Delta | None:
    return next((f for f in factors_of(body) if isinstance(f, Delta) and ix in (f.a, f.b)), None)


# ------------------------------------------------------------------ substitution


def substitute(e: Expr, to: Mapping[Ix, Idx]) -> Expr:
    """Free indices replaced; what holds them is rebuilt by its constructor, so constants fold; all else stays."""
    none = to.keys().isdisjoint
    return e if none(free(e)) else rebuild(e, lambda n: n if none(free(n)) else None, to)


def rebuild(e: Expr, replace: Callable[[Expr], Expr | None], to: Mapping[Ix, Idx] | None = None) -> Expr:
    """Bottom-up rebuild; `replace` may answer for any node (tried before its children), `to` renames free indices."""
    return Rebuilding(replace, to or {}).of(e)


def put(e: Expr, part: Expr, value: Expr) -> Expr:
    """The expression with a value wherever a part of it stood."""
    return rebuild(e, {part: value}.get)


class Rebuilding:
    """An expression made anew from the bottom, each node by its constructor.

    An object, and no functions that call one another: those would hold one another, and be left to the collector of
    garbage, some hundred thousand of them for a model.
    """

    __slots__ = ("made", "replace", "table")

    def __init__(self, replace: Callable[[Expr], Expr | None], table: Mapping[Ix, Idx]) -> None:
        self.replace, self.table = replace, table
        self.made: dict[Expr, Expr] = {}  # of nodes that stand in several places: branches of conditions share most

    def of(self, e: Expr) -> Expr:
        found = self.made.get(e)
        if found is None:
            found = self.replace(e)
            self.made[e] = found = self.below(e) if found is None else found
        return found

    def below(self, x: Expr) -> Expr:
        go, idx = self.of, self.index
        match x:  # the commonest first
            case El():
                return El(x.var, tuple([idx(i) for i in x.idx]), x.sort) if x.idx else x
            case Num() | SizeN():
                return x
            case Mul():
                return mul(*[go(f) for f in x.factors])
            case Add():
                return add(*[go(t) for t in x.terms])
            case Pow():
                return power(go(x.base), go(x.exponent))
            case Sum():
                return total(x.ix, go(x.body))
            case Fn():
                return fn(x.name, *[go(a) for a in x.args])
            case Sel():
                return sel(go(x.of), idx(x.at))
            case Val():
                return value_of(self.table.get(x.ix, x.ix))
            case Delta():
                return delta(idx(x.a), idx(x.b))
            case MatInv():
                return MatInv(x.i, x.j, go(x.body), (idx(x.at[0]), idx(x.at[1])))
            case LogDet():
                return LogDet(x.i, x.j, go(x.body))
            case Where():
                return where(go(x.cond), lambda: go(x.then), lambda: go(x.other))
            case Choose():
                at = idx(x.at)
                return go(x.options[at]) if isinstance(at, int) else Choose(at, tuple([go(o) for o in x.options]))

    def index(self, i: Idx) -> Idx:
        if isinstance(i, DataIx):
            return as_index(self.of(i.value))
        return self.table.get(i, i) if isinstance(i, Ix) else i


def where(cond: Expr, then: Callable[[], Expr], other: Callable[[], Expr]) -> Expr:
    """`then` where the condition holds; the branch that a literal condition rules out is not built."""
    if isinstance(cond, Num):
        return then() if cond.value != 0 else other()
    return Where(cond, then(), other())


def refresh(e: Sum) -> tuple[Ix, Expr]:
    """The body of a sum under a new dummy."""
    return (new := fresh(e.ix.dim)), substitute(e.body, {e.ix: new})
