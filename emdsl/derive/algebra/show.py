"""A short text of an expression, in the user's names, for messages and reasons."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Ix
from emdsl.derive.algebra.made import AT, MIXING, PRESENT, RAW, REFERENCE, is_made

Names = Mapping[Ix, str]
READABLE = 90  # letters within a sentence
SUM = "sum_"
SIGNS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}


def show(e: Expr) -> str:
    """A short text of an expression, in the user's names, for messages."""
    written = x.rebuild(e, _as_written)
    return _show(written, _names(written))


def briefly(e: Expr) -> str:
    """The same; of a function of more than anybody reads in a sentence its name, `log1p(...)`."""
    said = show(e)
    return f"{e.name}(...)" if isinstance(e, x.Fn) and len(said) > READABLE else said


def _as_written(e: Expr) -> Expr | None:
    """What data are measured from is 0 to the user, which are there 1, and data are as they came; functions that only
    the algebra has are spelt out."""
    if (spelt := spelt_out(e, lambda a: x.rebuild(a, _as_written))) is not None:
        return spelt
    if not isinstance(e, El) or not is_made(e.var):
        return None
    if e.var in REFERENCE or e.var in MIXING:
        return x.ZERO
    if e.var in PRESENT:
        return x.ONE
    return El(RAW.named(e.var), e.idx, e.sort) if e.var in RAW else None


def arguments(e: x.Fn) -> tuple[Expr, ...]:
    """What a function is of: `min(min(a, b), c)` is the least of a, b and c."""
    if e.name not in ("min", "max"):
        return e.args
    return tuple(p for a in e.args for p in (arguments(a) if isinstance(a, x.Fn) and a.name == e.name else (a,)))


def spelt_out(e: Expr, inside: Callable[[Expr], Expr]) -> Expr | None:
    """A function that only the algebra has, as the user would write it, of arguments so written; None of any other."""
    match e:
        case x.Fn("softplus", (a,)):
            return x.Fn("log", (x.Add((x.ONE, x.Fn("exp", (inside(a),)))),))
        case x.Fn("log1mexp" | "log_rest", (a,)):
            return x.Fn("log", (x.Add((x.ONE, x.neg(x.Fn("exp", (inside(a),))))),))
        case x.Fn("log_Phi", (a,)):
            return x.Fn("log", (x.Fn("Phi", (inside(a),)),))
        case x.Fn("log_between" | "log_inside" as name, (a, b, *_)):
            low, high = (inside(v) if name == "log_inside" else x.Fn("Phi", (inside(v),)) for v in (a, b))
            return x.Fn("log", (x.Add((high, x.neg(low))),))
    return None


def _names(e: Expr) -> Names:
    """What its indices are called: by the user's names where they have one, else by the letter of their length.

    Two that stand in one sum, or outside all of them, are told apart.
    """
    nodes = list(x.walk(e))
    every = list(dict.fromkeys(i for n in nodes for i in _indices(n)))
    apart: dict[Ix, set[Ix]] = {i: set(every) if i in x.free(e) else set() for i in every}
    for n in nodes:
        around = _bound(n)
        inside = {i for part in x.walk(n) for i in _indices(part)} if around else set()
        for i in around:
            apart[i] |= inside
    out: dict[Ix, str] = {}
    for i in sorted(every, key=lambda i: not i.name.isalpha()):
        name = i.name if i.name.isalpha() else i.dim.lower()[0] if i.dim[0].isalpha() else "i"
        while any(out[j] == name for j in out if j in apart[i] or i in apart[j]):
            name += "'"
        out[i] = name
    return out


def _bound(n: Expr) -> tuple[Ix, ...]:
    match n:
        case x.Sum():
            return (n.ix,)
        case x.MatInv() | x.LogDet():
            return (n.i, n.j)
    return ()


def _indices(n: Expr) -> tuple[Ix, ...]:
    match n:
        case x.Sum() | x.Val():
            return (n.ix,)
        case El():
            return tuple(i for i in n.idx if isinstance(i, Ix))
        case x.Sel():
            return (n.at,) if isinstance(n.at, Ix) else ()
        case x.Delta():
            return tuple(i for i in (n.a, n.b) if isinstance(i, Ix))
        case x.MatInv():
            return (*(i for i in n.at if isinstance(i, Ix)), n.i, n.j)
        case x.LogDet():
            return (n.i, n.j)
        case x.Choose():
            return (n.at,) if isinstance(n.at, Ix) else ()
    return ()


def _show(e: Expr, names: Names) -> str:
    match e:
        case x.Num(v):
            return str(v) if isinstance(v, Fraction) else f"{v:g}"
        case El():
            if e.var in AT:  # a latent at one of its points: which one is none of the reader's business
                return _show(El(AT.named(e.var), e.idx[1:]), names)
            inner = ", ".join(_index(i, names) for i in e.idx)
            return f"{e.var}[{inner}]" if inner else e.var
        case x.Val():
            return _index(e.ix, names)
        case x.SizeN():
            return e.dim
        case x.Sel():
            return f"[{_show(e.of, names)} = {_index(e.at, names)}]"
        case x.Delta():
            return f"[{_index(e.a, names)} = {_index(e.b, names)}]"
        case x.Fn("pi", ()):
            return "pi"
        case x.Fn("lgamma", (a,)):
            return f"log Gamma({_loose(a, names)})"
        case x.Fn("log_bessel_i0" | "log_Phi", (a,)):
            return f"{'log I0' if e.name == 'log_bessel_i0' else 'log Phi'}({_loose(a, names)})"
        case x.Fn("whole" | "value", (a,)):
            return _show(a, names)
        case x.Fn(name, (a, b)) if name in SIGNS:
            return f"[{_loose(a, names)} {SIGNS[name]} {_loose(b, names)}]"
        case x.Fn():
            return f"{e.name}({', '.join(_loose(a, names) for a in arguments(e))})"
        case x.Add():
            return f"({_loose(e, names)})"
        case x.Mul():
            return _product(e, names)
        case x.Pow(base, x.Num(v)) if v < 0:
            return f"1 / {_show(x.power(base, x.Num(-v)), names)}"
        case x.Pow():
            return f"{_tight(e.base, names)}^{_tight(e.exponent, names)}"
        case x.Sum():
            return (
                _inner_product(e, names) or _quadratic(e, names) or f"sum_{_index(e.ix, names)} {_show(e.body, names)}"
            )
        case x.MatInv():
            return f"inv({_matrix(e, names)})[{_index(e.at[0], names)}, {_index(e.at[1], names)}]"
        case x.LogDet():
            return f"logdet({_matrix(e, names)})"
        case x.Where():
            return f"({_show(e.then, names)} if {_show(e.cond, names)} else {_show(e.other, names)})"
        case x.Choose():
            return f"[{', '.join(_show(o, names) for o in e.options)}][{_index(e.at, names)}]"


def _tight(e: Expr, names: Names) -> str:
    """Beside a `^`: a sum has brackets of its own, a product, a quotient, a power and a negative number get them."""
    plain = not isinstance(e, x.Mul | x.Pow) and not (isinstance(e, x.Num) and (e.value < 0 or e.value % 1))
    return _show(e, names) if plain else f"({_show(e, names)})"


def _matrix(e: x.MatInv | x.LogDet, names: Names) -> str:
    """A matrix of literal rows by these; any other by its entry."""
    match e.body:
        case x.Choose(at, options) if at == e.i and all(isinstance(r, x.Choose) and r.at == e.j for r in options):
            rows = [", ".join(_loose(o, names) for o in r.options) for r in options if isinstance(r, x.Choose)]
            return f"[[{'], ['.join(rows)}]]"
    return _show(e.body, names)


def _inner_product(e: x.Sum, names: Names) -> str | None:
    """`X[n] @ beta`, as the language has it; None for any other sum."""
    match e.body:
        case x.Mul((El() as a, El() as b)) if all(
            p.idx and p.idx[-1] == e.ix and e.ix not in x.free(El("", p.idx[:-1])) for p in (a, b)
        ):
            return " @ ".join(_show(El(p.var, p.idx[:-1]), names) for p in (a, b))
    return None


def _quadratic(e: x.Sum, names: Names) -> str | None:
    """`sum_i a[i] sum_j inv(S)[i, j] a[j]` as `quad(inv(S), a)`, as the language has it; None for any other sum."""
    factors = x.factors_of(e.body)
    inner = next((p for p in factors if isinstance(p, x.Sum)), None)
    if len(factors) != 2 or inner is None:
        return None
    (a,) = (p for p in factors if p is not inner)
    matrix = next((p for p in x.factors_of(inner.body) if isinstance(p, x.MatInv) and p.at == (e.ix, inner.ix)), None)
    if matrix is None or x.mul(matrix, x.substitute(a, {e.ix: inner.ix})) != inner.body:
        return None
    vector, of = _whole(a, (e.ix,)), _whole(matrix.body, (matrix.i, matrix.j))
    return None if vector is None or of is None else f"quad(inv({_loose(of, names)}), {_loose(vector, names)})"


def _whole(e: Expr, own: tuple[Ix, ...]) -> Expr | None:
    """A sum of elements of vectors, or of matrices, as that of the vectors; None where another part holds the index."""
    terms = [x.split_number(t) for t in x.terms_of(e)]
    held = [
        t for _, t in terms if isinstance(t, El) and t.idx[-len(own) :] == own and not {*own} & {*t.idx[: -len(own)]}
    ]
    if len(held) < len(terms):
        return None
    return x.add(*(x.mul(x.Num(c), El(t.var, t.idx[: -len(own)])) for (c, _), t in zip(terms, held, strict=True)))


def _loose(e: Expr, names: Names) -> str:
    """An expression that stands alone or in brackets already: a sum needs none of its own."""
    if not isinstance(e, x.Add):
        return _show(e, names)
    first, *rest = sorted(e.terms, key=lambda t: x.split_number(t)[0] < 0)  # what is added stands first
    return _show(first, names) + "".join(_signed(t, names) for t in rest)


def _signed(term: Expr, names: Names) -> str:
    c, _ = x.split_number(term)
    return f" - {_show(x.mul(x.num(-1), term), names)}" if c < 0 else f" + {_show(term, names)}"


def _product(e: x.Mul, names: Names) -> str:
    """A sign before it, what divides behind it."""
    c, rest = x.split_number(e)
    if c < 0:
        return f"-{_show(x.mul(x.Num(-c), rest), names)}"
    below = [p for p in e.factors if isinstance(p, x.Pow) and isinstance(p.exponent, x.Num) and p.exponent.value < 0]
    above = [_show(p, names) for p in e.factors if p not in below]
    open_end = [a.startswith(SUM) for a in above]
    above = [f"({a})" if more and (below or n < len(above) - 1) else a
             for n, (a, more) in enumerate(zip(above, open_end, strict=True))]  # fmt: skip
    under = [
        _show(x.power(p.base, x.num(-1 * p.exponent.value)), names) for p in below if isinstance(p.exponent, x.Num)
    ]
    top = " ".join(above) or "1"
    return top if not under else f"{top} / {under[0]}" if len(under) == 1 else f"{top} / ({' '.join(under)})"


def _index(i: x.Idx, names: Names) -> str:
    if isinstance(i, Ix):
        return names.get(i, i.name)
    return str(i) if isinstance(i, int) else _show(i.value, names)
