"""Between which two numbers an expression of what is given lies, whatever the row: code of both, by intervals.

Each is as near as the parts of the expression tell apart (Moore 1966): enough for how many values a count takes.
"""

from __future__ import annotations

from collections.abc import Callable

from emdsl.errors import InternalError
from emdsl.language import model as m

Ends = tuple[str, str]


def extent(e: m.Expr, size: Callable[[m.Size], str]) -> Ends:
    """The least and the largest number; `size` prints a length, of ragged plates the longest."""
    match e:
        case m.Num(value=v):
            return f"{v:g}", f"{v:g}"
        case m.SizeOf(size=s):
            return ("0" if isinstance(s, m.Ragged) else size(s)), size(s)
        case m.Var(name=name):
            return f'np.min(data.values["{name}"], initial=0)', f'np.max(data.values["{name}"], initial=0)'
        case m.Loop(size=s):
            return "0", f"{size(s)} - 1"
        case m.Index(base=m.Stack() as table):
            return _either([extent(item, size) for item in table.items])
        case m.Index(base=base):
            return extent(base, size)
        case m.Stack(items=items):
            return _either([extent(item, size) for item in items])
        case m.If(then=then, other=other):
            return _either([extent(then, size), extent(other, size)])
        case m.SumOver(size=s, body=body):
            (low, high), many = extent(body, size), size(s)
            return f"min(0, {many} * ({low}))", f"max(0, {many} * ({high}))"
        case m.Call(fn=fn, args=args):
            return _of_function(fn, [extent(a, size) for a in args])
    raise InternalError("extents", f"no ends of {type(e).__name__}")


def _either(parts: list[Ends]) -> Ends:
    lows, highs = zip(*parts, strict=True)
    return f"min({', '.join(lows)})", f"max({', '.join(highs)})"


def _of_function(fn: str, parts: list[Ends]) -> Ends:
    if len(parts) == 1 and fn in ("min", "max", "abs"):
        ((low, high),) = parts
        return (f"min(0, {low})", f"max({high}, -({low}))") if fn == "abs" else (low, high)
    (low, high), (least, most) = parts[0], parts[-1]
    match fn:
        case "add":
            return f"{low} + {least}", f"{high} + {most}"
        case "sub":
            return f"{low} - ({most})", f"{high} - ({least})"
        case "neg":
            return f"-({high})", f"-({low})"
        case "mul":
            corners = ", ".join(f"({a}) * ({b})" for a in (low, high) for b in (least, most))
            return f"min({corners})", f"max({corners})"
        case "div" | "floordiv":  # by one or more
            return f"min(0, {low})", f"max(0, {high})"
        case "mod":
            return "0", f"max(0, {most})"
        case "min" | "max":
            lows, highs = zip(*parts, strict=True)
            return f"{fn}({', '.join(lows)})", f"{fn}({', '.join(highs)})"
        case "eq" | "ne" | "lt" | "le" | "gt" | "ge" | "and" | "or" | "not":
            return "0", "1"
    raise InternalError("extents", f"no ends of {fn}")
