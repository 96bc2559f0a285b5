"""A variable's bounds as code: numbers (of a latent its family's too), and expressions of givens, one number each.

Of a parameter they may be one for each element: then `limits` makes them, once.
"""

from __future__ import annotations

from emdsl.derive.joint.ranges import narrowed
from emdsl.generate.lines.spelling import number
from emdsl.language import model as m
from emdsl.language.constants import one_number

_OPERATORS = {"add": "+", "sub": "-", "mul": "*", "div": "/", "pow": "**"}
_FUNCTIONS = {"exp": "math.exp", "log": "math.log", "sqrt": "math.sqrt", "abs": "abs", "min": "min", "max": "max"}


def bounds(v: m.Variable) -> tuple[str, str]:
    """Code of a variable's bounds, `None` where there is none; it reads givens off `prepared`."""
    own = code(v.domain.lower) or "None", code(v.domain.upper) or "None"
    if v.kind == "param":
        low, high = (
            f'prepared["the ends"]["{v.name}"][{side}]' if end is not None and not one_number(end) else code
            for side, (end, code) in enumerate(zip((v.domain.lower, v.domain.upper), own, strict=True))
        )
        return low, high
    low, high = (code if end is None else repr(end) for end, code in zip(narrowed(v), own, strict=True))
    return low, high


def code(e: m.Expr | None) -> str | None:
    """Code of an expression of numbers and scalar givens; None for any other."""
    match e:
        case m.Num(value=n):
            return repr(float(n))
        case m.Pi():
            return number(3.141592653589793)
        case m.Var(name=name, shape=()):
            return f'float(prepared["{name}"])'
        case m.Call(fn="neg", args=(a,)):
            inner = code(a)
            return inner and f"-({inner})"
        case m.Call(fn=fn, args=args) if fn in _OPERATORS or fn in _FUNCTIONS:
            parts = [code(a) for a in args]
            if None in parts:
                return None
            written = ", ".join(p for p in parts if p)
            return f"({parts[0]} {_OPERATORS[fn]} {parts[1]})" if fn in _OPERATORS else f"{_FUNCTIONS[fn]}({written})"
    return None
