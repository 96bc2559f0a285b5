"""What ties latents to what else a model has, in words: the expression that no family has as a statistic."""

from __future__ import annotations

from collections.abc import Sequence

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr
from emdsl.derive.algebra.show import show, spelt_out
from emdsl.derive.joint.factors import LogJoint
from emdsl.derive.joint.plates import in_plates
from emdsl.derive.joint.sides import classes, side_in
from emdsl.derive.joint.terms import terms


def tie(joint: LogJoint, names: Sequence[str]) -> str:
    """The expression that no family has as a statistic: `log(1 + exp(b[g])) ties b to y: no family`; "" for none."""
    kinds = classes(joint)
    for f in joint.factors:
        for t in terms(f, side_in(kinds)):
            for e in t.factors:
                held = [n for n in names if n in x.variables(e)]
                if held and not _plain(e, names):
                    others = [n for n in (f.about,) if n and n not in held]
                    to = f" to {others[0]}" if others else ""
                    return f"{told(in_plates(as_written(e), joint.model))} ties {', '.join(held)}{to}: no family"
    return ""


def _plain(e: Expr, names: Sequence[str]) -> bool:
    """Whether a factor is a polynomial in these latents, or a logarithm of one: families may have it."""
    match e:
        case El() | x.Sel() | x.MatInv() | x.LogDet() | x.Num():
            return True
        case x.Pow(base, x.Num(v)):
            return v in (-1, 1, 2) and _plain(base, names)
        case x.Sum():
            return _plain(e.body, names)
        case x.Mul():
            return all(_plain(g, names) for g in e.factors)
        case x.Fn("log", (a,)):
            return isinstance(a, El) or (
                isinstance(a, x.Add) and all(isinstance(g, El | x.Num | x.Mul) for g in a.terms)
            )
    return not set(names) & x.variables(e)


def as_written(e: Expr) -> Expr:
    """Functions that only the algebra has as the user would write them."""
    return x.rebuild(e, lambda g: spelt_out(g, as_written))


def told(e: Expr) -> str:
    """A short text of an expression, as its user would write it."""
    match e:
        case x.Fn(name, (x.Add(ts),)):
            text = " + ".join(map(told, ts))
            return f"{name}({text.replace('+ -', '- ')})".replace("-1 ", "-")
        case x.Fn(name, (a,)):
            return f"{name}({told(a)})"
    return show(e).replace("-1 ", "-")
