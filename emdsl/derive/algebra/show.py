"""A short text of an expression, in the user's names, for messages and reasons."""

from __future__ import annotations

from fractions import Fraction

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Ix
from emdsl.derive.algebra.made import AT


def show(e: Expr) -> str:
    """A short text of an expression, in the user's names, for messages."""
    match e:
        case x.Num(v):
            return str(v) if isinstance(v, Fraction) else f"{v:g}"
        case El():
            if e.var in AT:  # a latent at one of its points: which one is none of the reader's business
                return show(El(AT.named(e.var), e.idx[1:]))
            inner = ", ".join(_index(i) for i in e.idx)
            return f"{e.var}[{inner}]" if inner else e.var
        case x.Val():
            return _index(e.ix)
        case x.SizeN():
            return e.dim
        case x.Sel() | x.Delta():
            return (
                "["
                + (f"{show(e.of)} = {_index(e.at)}" if isinstance(e, x.Sel) else f"{_index(e.a)} = {_index(e.b)}")
                + "]"
            )
        case x.Fn("pi", ()):
            return "pi"
        case x.Fn("lgamma", (a,)):
            return f"log Gamma({_loose(a)})"
        case x.Fn():
            return f"{e.name}({', '.join(map(_loose, e.args))})"
        case x.Add():
            return f"({_loose(e)})"
        case x.Mul():
            return _product(e)
        case x.Pow(base, x.Num(v)) if v < 0:
            return f"1 / {show(x.power(base, x.Num(-v)))}"
        case x.Pow():
            return f"{show(e.base)}^{show(e.exponent)}"
        case x.Sum():
            return f"sum_{_index(e.ix)} {show(e.body)}"
        case x.MatInv():
            return f"inv({show(e.body)})[{_index(e.at[0])}, {_index(e.at[1])}]"
        case x.LogDet():
            return f"logdet({show(e.body)})"
        case x.Where():
            return f"({show(e.then)} if {show(e.cond)} else {show(e.other)})"
        case x.Choose():
            return f"[{', '.join(map(show, e.options))}][{_index(e.at)}]"


def _loose(e: Expr) -> str:
    """An expression that stands alone or in brackets already: a sum needs none of its own."""
    if not isinstance(e, x.Add):
        return show(e)
    first, *rest = sorted(e.terms, key=lambda t: x.split_number(t)[0] < 0)  # what is added stands first
    return show(first) + "".join(map(_signed, rest))


def _signed(term: Expr) -> str:
    c, _ = x.split_number(term)
    return f" - {show(x.mul(x.num(-1), term))}" if c < 0 else f" + {show(term)}"


def _product(e: x.Mul) -> str:
    """A sign before it, what divides behind it."""
    c, rest = x.split_number(e)
    if c < 0:
        return f"-{show(x.mul(x.Num(-c), rest))}"
    below = [p for p in e.factors if isinstance(p, x.Pow) and isinstance(p.exponent, x.Num) and p.exponent.value < 0]
    above = [show(p) for p in e.factors if p not in below]
    open_end = [isinstance(p, x.Sum) for p in e.factors if p not in below]
    above = [f"({a})" if more and (below or n < len(above) - 1) else a
             for n, (a, more) in enumerate(zip(above, open_end, strict=True))]  # fmt: skip
    under = [show(x.power(p.base, x.num(-1 * p.exponent.value))) for p in below if isinstance(p.exponent, x.Num)]
    top = " ".join(above) or "1"
    return top if not under else f"{top} / {under[0]}" if len(under) == 1 else f"{top} / ({' '.join(under)})"


def _index(i: x.Idx) -> str:
    if isinstance(i, Ix):
        return (i.dim.lower()[0] if i.dim[0].isalpha() else "i") if i.name.startswith("_") else i.name
    return str(i) if isinstance(i, int) else show(i.value)
