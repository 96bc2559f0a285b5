"""Scalar expressions with explicit, typed indices: the algebra every derivation is written in.

A tensor expression of the language becomes a scalar expression in the elements of tensors:
`X[n] @ beta` is `Sum(p, El(X, n p) * El(beta, p))`. Constructors (`add`, `mul`, `power`, `fn`)
keep a light normal form; nothing is opened that need not be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import count
from typing import Literal


@dataclass(frozen=True, slots=True)
class Ix:
    """A dummy index, typed by the dimension it runs over.

    Dimensions are spelled as sizes are: `"N"`, `"3"`, `"Q + 1"`; `"T[]"` are the rows of a ragged plate.
    """

    name: str
    dim: str


@dataclass(frozen=True, slots=True)
class DataIx:
    """An index position whose integer value is read off data: `b[group[n]]`."""

    value: Expr


Idx = Ix | int | DataIx
Sort = Literal["real", "positive", "unit", "spd"]


@dataclass(frozen=True, slots=True)
class Num:
    value: Fraction | float


@dataclass(frozen=True, slots=True)
class El:
    """One element of a variable, a statistic or a constant table. `sort` is what its domain says of its sign."""

    var: str
    idx: tuple[Idx, ...]
    sort: Sort = "real"


@dataclass(frozen=True, slots=True)
class Val:
    """The value of an index as a number."""

    ix: Ix


@dataclass(frozen=True, slots=True)
class SizeN:
    """A size as a number, by the spelling of its dimension."""

    dim: str


@dataclass(frozen=True, slots=True)
class Sel:
    """One-hot: 1 where the integer `of` equals `at`."""

    of: Expr
    at: Idx


@dataclass(frozen=True, slots=True)
class Delta:
    """1 where two index positions are equal."""

    a: Idx
    b: Idx


@dataclass(frozen=True, slots=True)
class Fn:
    """An elementwise function; comparisons give 0 or 1; `pi` takes no argument."""

    name: str
    args: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Add:
    terms: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Mul:
    factors: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Pow:
    base: Expr
    exponent: Expr


@dataclass(frozen=True, slots=True)
class Sum:
    ix: Ix
    body: Expr


@dataclass(frozen=True, slots=True)
class MatInv:
    """Element `at` of the inverse of the symmetric matrix whose element (i, j) is `body`."""

    i: Ix
    j: Ix
    body: Expr
    at: tuple[Idx, Idx]


@dataclass(frozen=True, slots=True)
class LogDet:
    i: Ix
    j: Ix
    body: Expr


@dataclass(frozen=True, slots=True)
class Where:
    """`then` where the condition holds, else `other`; only the branch taken is evaluated."""

    cond: Expr
    then: Expr
    other: Expr


@dataclass(frozen=True, slots=True)
class Choose:
    """Item number `at` of a literal list."""

    at: Idx
    options: tuple[Expr, ...]


Expr = Num | El | Val | SizeN | Sel | Delta | Fn | Add | Mul | Pow | Sum | MatInv | LogDet | Where | Choose

ZERO, ONE, HALF = Num(Fraction(0)), Num(Fraction(1)), Num(Fraction(1, 2))
_fresh = count()


def fresh(dim: str) -> Ix:
    """A dummy that no other expression holds. Names are canonical only after `terms.canonical`."""
    return Ix(f"_{next(_fresh)}", dim)


def num(value: int | float | Fraction) -> Num:
    return Num(value if isinstance(value, float) and not value.is_integer() else Fraction(value))


def children(e: Expr) -> tuple[Expr, ...]:
    """Direct sub-expressions, those inside data-valued index positions included."""
    match e:
        case Num() | Val() | SizeN():
            return ()
        case El():
            return _inside(e.idx)
        case Sel():
            return (e.of, *_inside((e.at,)))
        case Delta():
            return _inside((e.a, e.b))
        case Fn():
            return e.args
        case Add():
            return e.terms
        case Mul():
            return e.factors
        case Pow():
            return (e.base, e.exponent)
        case Sum() | LogDet():
            return (e.body,)
        case MatInv():
            return (e.body, *_inside(e.at))
        case Where():
            return (e.cond, e.then, e.other)
        case Choose():
            return (*_inside((e.at,)), *e.options)


def _inside(idx: tuple[Idx, ...]) -> tuple[Expr, ...]:
    return tuple(i.value for i in idx if isinstance(i, DataIx))


def walk(e: Expr) -> Iterator[Expr]:
    stack = [e]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed(children(node)))


@lru_cache(maxsize=100_000)
def free(e: Expr) -> tuple[Ix, ...]:
    """Free indices, in order of first appearance."""
    out: dict[Ix, None] = {}
    match e:
        case El():
            _positions(e.idx, out)
        case Val():
            out[e.ix] = None
        case Sel():
            out.update(dict.fromkeys(free(e.of)))
            _positions((e.at,), out)
        case Delta():
            _positions((e.a, e.b), out)
        case Choose():
            _positions((e.at,), out)
            for o in e.options:
                out.update(dict.fromkeys(free(o)))
        case Sum():
            out.update(dict.fromkeys(i for i in free(e.body) if i != e.ix))
        case MatInv() | LogDet():
            out.update(dict.fromkeys(i for i in free(e.body) if i not in (e.i, e.j)))
            if isinstance(e, MatInv):
                _positions(e.at, out)
        case _:
            for c in children(e):
                out.update(dict.fromkeys(free(c)))
    return tuple(out)


def _positions(idx: tuple[Idx, ...], out: dict[Ix, None]) -> None:
    for i in idx:
        if isinstance(i, Ix):
            out[i] = None
        elif isinstance(i, DataIx):
            out.update(dict.fromkeys(free(i.value)))


@lru_cache(maxsize=100_000)
def variables(e: Expr) -> frozenset[str]:
    """Names of all variables below, data-valued index positions included."""
    own = frozenset((e.var,)) if isinstance(e, El) else frozenset[str]()
    return own.union(*(variables(c) for c in children(e)))


# ------------------------------------------------------------------ constructors


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
        kept, old = merged.get(key, (rest, Fraction(0)))
        merged[key] = (kept, old + c)
    out = [mul(Num(c), rest) if c != 1 else rest for rest, c in merged.values() if c != 0]
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


def split_number(e: Expr) -> tuple[Fraction | float, Expr]:
    """`c * rest` with the number taken out."""
    if isinstance(e, Num):
        return e.value, ONE
    if isinstance(e, Mul) and isinstance(e.factors[0], Num):
        rest = e.factors[1:]
        return e.factors[0].value, rest[0] if len(rest) == 1 else Mul(rest)
    return Fraction(1), e


def mul(*factors: Expr) -> Expr:
    """Product in normal form: flat, number first, powers of equal bases merged."""
    c: Fraction | float = Fraction(1)
    powers: dict[Expr, list[Expr]] = {}
    stack = list(reversed(factors))
    while stack:
        f = stack.pop()
        match f:
            case Mul():
                stack.extend(reversed(f.factors))
            case Num():
                c = c * f.value
            case Pow():
                powers.setdefault(f.base, []).append(f.exponent)
            case _:
                powers.setdefault(f, []).append(ONE)
    if c == 0:
        return ZERO
    out: list[Expr] = []
    for base, exponents in powers.items():
        if len(exponents) == 1:
            p = base if exponents[0] == ONE else Pow(base, exponents[0])
        elif isinstance(base, Sel | Delta) or _indicator(base):
            p = base
        else:
            p = power(base, add(*exponents))
        if isinstance(p, Num):
            c = c * p.value
        elif isinstance(p, Mul):
            return mul(Num(c), *out, *factors_of(p), *(_repeat(b, x) for b, x in list(powers.items())[len(out) + 1 :]))
        else:
            out.append(p)
    if len(out) == 1 and isinstance(out[0], Add) and c != 1:
        return add(*(mul(Num(c), t) for t in out[0].terms))
    if c != 1 or not out:
        out.insert(0, Num(c))
    return out[0] if len(out) == 1 else Mul(tuple(out))


def _repeat(base: Expr, exponents: list[Expr]) -> Expr:
    return power(base, add(*exponents))


def _indicator(e: Expr) -> bool:
    return isinstance(e, Fn) and e.name in COMPARISONS


COMPARISONS = frozenset({"eq", "ne", "lt", "le", "gt", "ge", "and", "or", "not"})


def factors_of(e: Expr) -> tuple[Expr, ...]:
    return e.factors if isinstance(e, Mul) else (e,)


def power(base: Expr, exponent: Expr) -> Expr:
    if exponent == ONE or base == ONE:
        return base
    if exponent == ZERO:
        return ONE
    match base, exponent:
        case Num(b), Num(x) if isinstance(x, Fraction) and x.denominator == 1 and abs(x) < 1000:
            if b == 0:
                return ZERO if x > 0 else Pow(base, exponent)
            return num(b ** int(x))
        case Num(b), Num(x) if b > 0 and not (isinstance(b, Fraction) and isinstance(x, Fraction)):
            return num(float(b) ** float(x))
        case Pow(), Num(x) if (isinstance(x, Fraction) and x.denominator == 1) or positive(base.base):
            return power(base.base, mul(base.exponent, exponent))
        case Mul(), Num(x) if (isinstance(x, Fraction) and x.denominator == 1) or all(
            positive(f) for f in base.factors
        ):
            return mul(*(power(f, exponent) for f in base.factors))
        case Fn("exp", (a,)), _:
            return fn("exp", mul(a, exponent))
        case ((Sel() | Delta()), Num(x)) if x > 0:
            return base
    return Pow(base, exponent)


def fn(name: str, *args: Expr) -> Expr:
    """An elementwise function, with the identities that keep densities splittable."""
    if name == "log":
        return _log(args[0])
    if name == "exp" and isinstance(args[0], Fn) and args[0].name == "log":
        return args[0].args[0]
    if name == "exp" and args[0] == ZERO:
        return ONE
    if name == "log1p" and isinstance(args[0], Fn) and args[0].name == "exp":
        return Fn("softplus", args[0].args)
    if name in COMPARISONS and (folded := _compare(name, args)) is not None:
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
        case Add((Num(one), t)) | Add((t, Num(one))) if one == 1 and _is_minus(t, "logistic"):
            return neg(Fn("softplus", _negated_argument(t)))
        case Add((Num(one), Fn("exp", x))) | Add((Fn("exp", x), Num(one))) if one == 1:
            return Fn("softplus", x)
        case Pow() if positive(a.base):
            return mul(a.exponent, _log(a.base))
        case Mul() if sum(not positive(f) for f in a.factors) <= 1:
            return add(*(_log(f) for f in a.factors))
    if isinstance(a, Add):
        constant = next((t.value for t in a.terms if isinstance(t, Num)), None)
        if constant is not None and constant > 0 and constant != 1:  # log(c - c t) = log c + log(1 - t)
            scaled = add(*(mul(Num(1 / constant), t) for t in a.terms))
            if positive(scaled):
                return add(_log(Num(constant)), _log(scaled))
    return Fn("log", (a,))


def _is_minus(t: Expr, name: str) -> bool:
    c, rest = split_number(t)
    return c == -1 and isinstance(rest, Fn) and rest.name == name


def _negated_argument(t: Expr) -> tuple[Expr, ...]:
    rest = split_number(t)[1]
    assert isinstance(rest, Fn)
    return rest.args


_DECIDE: dict[str, Callable[[float | Fraction, float | Fraction], bool]] = {
    "eq": lambda a, b: a == b, "ne": lambda a, b: a != b, "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b, "gt": lambda a, b: a > b, "ge": lambda a, b: a >= b,
    "and": lambda a, b: bool(a) and bool(b), "or": lambda a, b: bool(a) or bool(b),
}  # fmt: skip


def _compare(name: str, args: tuple[Expr, ...]) -> Expr | None:
    if name == "not":
        return num(int(args[0].value == 0)) if isinstance(args[0], Num) else None
    a, b = args
    if isinstance(a, Num) and isinstance(b, Num):
        return num(int(_DECIDE[name](a.value, b.value)))
    for x, y in ((a, b), (b, a)):
        if isinstance(x, Num) and name in ("and", "or"):
            return y if (x.value != 0) == (name == "and") else x
    return None


def neg(e: Expr) -> Expr:
    return mul(Num(Fraction(-1)), e)


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
        return mul(SizeN(ix.dim) if not ix.dim.isdigit() else num(int(ix.dim)), *outside)
    return mul(*outside, Sum(ix, mul(*inside)))


def _delta_of(body: Expr, ix: Ix) -> Delta | None:
    for f in factors_of(body):
        if isinstance(f, Delta) and ix in (f.a, f.b):
            return f
    return None


def delta(a: Idx, b: Idx) -> Expr:
    if a == b:
        return ONE
    if isinstance(a, int) and isinstance(b, int):
        return ZERO
    return Delta(a, b)


def sel(of: Expr, at: Idx) -> Expr:
    if isinstance(of, Val):
        return delta(of.ix, at)
    if isinstance(of, Num) and isinstance(at, int):
        return ONE if of.value == at else ZERO
    if isinstance(of, Num) and isinstance(at, Ix):
        return delta(int(of.value), at)
    return Sel(of, at)


# ------------------------------------------------------------------ facts


def positive(e: Expr) -> bool:
    """Whether the expression is known to be positive, from domains alone."""
    match e:
        case Num(v):
            return v > 0
        case El():
            return e.sort in ("positive", "unit")
        case SizeN() | Fn("exp" | "logistic" | "softplus" | "pi" | "Phi", _):
            return True
        case Mul():
            return all(positive(f) for f in e.factors)
        case Pow():
            return positive(e.base)
        case Sum():
            return positive(e.body)
        case Add((Num(one), t)) | Add((t, Num(one))) if one == 1 and _is_unit_minus(t):
            return True
        case Add():
            return all(positive(t) for t in e.terms)
        case Where():
            return positive(e.then) and positive(e.other)
        case Choose():
            return all(positive(o) for o in e.options)
    return False


def _is_unit_minus(t: Expr) -> bool:
    c, rest = split_number(t)
    return c == -1 and (
        (isinstance(rest, El) and rest.sort == "unit") or (isinstance(rest, Fn) and rest.name == "logistic")
    )


# ------------------------------------------------------------------ substitution


def substitute(e: Expr, to: Mapping[Ix, Idx]) -> Expr:
    """Free indices replaced; everything is rebuilt by its constructor, so constants fold."""
    return rebuild(e, lambda leaf: None, to)


def rebuild(e: Expr, replace: Callable[[Expr], Expr | None], to: Mapping[Ix, Idx] | None = None) -> Expr:
    """Bottom-up rebuild; `replace` may answer for any node (tried before its children), `to` renames free indices."""
    table = to or {}

    def go(x: Expr) -> Expr:
        found = replace(x)
        if found is not None:
            return found
        match x:
            case Num() | SizeN():
                return x
            case Val():
                return _value(table.get(x.ix, x.ix))
            case El():
                return El(x.var, tuple(idx(i) for i in x.idx), x.sort)
            case Sel():
                return sel(go(x.of), idx(x.at))
            case Delta():
                return delta(idx(x.a), idx(x.b))
            case Fn():
                return fn(x.name, *(go(a) for a in x.args))
            case Add():
                return add(*(go(t) for t in x.terms))
            case Mul():
                return mul(*(go(f) for f in x.factors))
            case Pow():
                return power(go(x.base), go(x.exponent))
            case Sum():
                return total(x.ix, go(x.body))
            case MatInv():
                return MatInv(x.i, x.j, go(x.body), (idx(x.at[0]), idx(x.at[1])))
            case LogDet():
                return LogDet(x.i, x.j, go(x.body))
            case Where():
                return where(go(x.cond), lambda: go(x.then), lambda: go(x.other))
            case Choose():
                at = idx(x.at)
                return go(x.options[at]) if isinstance(at, int) else Choose(at, tuple(go(o) for o in x.options))

    def idx(i: Idx) -> Idx:
        if isinstance(i, DataIx):
            return as_index(go(i.value))
        return table.get(i, i) if isinstance(i, Ix) else i

    return go(e)


def where(cond: Expr, then: Callable[[], Expr], other: Callable[[], Expr]) -> Expr:
    if isinstance(cond, Num):
        return then() if cond.value != 0 else other()
    return Where(cond, then(), other())


def _value(i: Idx) -> Expr:
    match i:
        case Ix():
            return Val(i)
        case int():
            return num(i)
        case DataIx():
            return i.value


value_of = _value


def as_index(e: Expr) -> Idx:
    """An integer expression as an index position."""
    match e:
        case Val():
            return e.ix
        case Num(v) if v == int(v):
            return int(v)
    return DataIx(e)


def refresh(e: Sum) -> tuple[Ix, Expr]:
    """The body of a sum under a new dummy."""
    new = fresh(e.ix.dim)
    return new, substitute(e.body, {e.ix: new})


@lru_cache(maxsize=100_000)
def alpha(e: Expr) -> Expr:
    """The expression with bound indices named by depth: equal up to bound names means equal here."""
    return _alpha(e, {}, 0)


def _alpha(e: Expr, names: Mapping[Ix, Ix], depth: int) -> Expr:
    if not any(isinstance(x, Sum | MatInv | LogDet) for x in walk(e)) and not names:
        return e

    def idx(i: Idx) -> Idx:
        if isinstance(i, DataIx):
            return DataIx(_alpha(i.value, names, depth))
        return names.get(i, i) if isinstance(i, Ix) else i

    def sub(x: Expr) -> Expr:
        return _alpha(x, names, depth)

    match e:
        case Num() | SizeN():
            return e
        case Val():
            return Val(names.get(e.ix, e.ix))
        case El():
            return El(e.var, tuple(map(idx, e.idx)), e.sort)
        case Sel():
            return Sel(sub(e.of), idx(e.at))
        case Delta():
            return Delta(idx(e.a), idx(e.b))
        case Fn():
            return Fn(e.name, tuple(map(sub, e.args)))
        case Add():
            return Add(tuple(map(sub, e.terms)))
        case Mul():
            return Mul(tuple(map(sub, e.factors)))
        case Pow():
            return Pow(sub(e.base), sub(e.exponent))
        case Sum():
            new = Ix(f"#{depth}", e.ix.dim)
            return Sum(new, _alpha(e.body, {**names, e.ix: new}, depth + 1))
        case MatInv() | LogDet():
            a, b = Ix(f"#{depth}", e.i.dim), Ix(f"#{depth + 1}", e.j.dim)
            body = _alpha(e.body, {**names, e.i: a, e.j: b}, depth + 2)
            return LogDet(a, b, body) if isinstance(e, LogDet) else MatInv(a, b, body, (idx(e.at[0]), idx(e.at[1])))
        case Where():
            return Where(sub(e.cond), sub(e.then), sub(e.other))
        case Choose():
            return Choose(idx(e.at), tuple(map(sub, e.options)))
