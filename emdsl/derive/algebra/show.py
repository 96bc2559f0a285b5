"""A short text of an expression, in the user's names, for messages and reasons."""

from __future__ import annotations

from fractions import Fraction

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Ix


def show(e: Expr) -> str:
    """A short text of an expression, in the user's names, for messages."""
    match e:
        case x.Num(v):
            return str(v) if isinstance(v, Fraction) else f"{v:g}"
        case El():
            if e.var.startswith("at:"):  # a latent at one of its points: which one is none of the reader's business
                return show(El(e.var.removeprefix("at:"), e.idx[1:]))
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
        case x.Fn():
            return f"{e.name}({', '.join(map(show, e.args))})"
        case x.Add():
            return "(" + " + ".join(map(show, e.terms)).replace("+ -", "- ") + ")"
        case x.Mul():
            return " ".join(map(show, e.factors))
        case x.Pow():
            return f"{show(e.base)}^{show(e.exponent)}"
        case x.Sum():
            return f"sum({show(e.body)} for {_index(e.ix)})"
        case x.MatInv():
            return f"inv({show(e.body)})[{_index(e.at[0])}, {_index(e.at[1])}]"
        case x.LogDet():
            return f"logdet({show(e.body)})"
        case x.Where():
            return f"({show(e.then)} if {show(e.cond)} else {show(e.other)})"
        case x.Choose():
            return f"[{', '.join(map(show, e.options))}][{_index(e.at)}]"


def _index(i: x.Idx) -> str:
    if isinstance(i, Ix):
        return i.dim.lower()[0] if i.name.startswith("_") else i.name
    return str(i) if isinstance(i, int) else show(i.value)
