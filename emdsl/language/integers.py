"""Which expressions are integers, and how many values the index-like ones take."""

from __future__ import annotations

from collections.abc import Mapping

from emdsl.language.functions import COMPARISONS
from emdsl.language.model import (
    Call,
    Dim,
    Domain,
    Each,
    Expr,
    If,
    Index,
    Loop,
    Num,
    Pi,
    Ragged,
    Size,
    SizeOf,
    Stack,
    SumOver,
    Var,
)  # fmt: skip
from emdsl.language.scope import Entry, Env

_KEEPS = frozenset({"add", "sub", "mul", "floordiv", "mod", "neg", "abs", "min", "max", "sum", "cumsum", "eye", "zeros",
                    "ones", "transpose", "matmul", "concat", "outer", "diag", "trace"})  # fmt: skip


def integral(e: Expr, env: Env) -> bool:
    """True where the value is an integer whatever the data and parameters are."""
    match e:
        case Num(value):
            return isinstance(value, int)
        case Pi():
            return False
        case Loop() | SizeOf():
            return True
        case Var(name):
            return _integral_name(name, env)
        case Index(base, _):
            return integral(base, env)
        case Call(fn, args):
            if fn in COMPARISONS:
                return True
            if fn == "pow":
                exponent = args[1]
                return (
                    integral(args[0], env)
                    and isinstance(exponent, Num)
                    and isinstance(exponent.value, int)
                    and exponent.value >= 0
                )
            return fn in _KEEPS and all(integral(a, env) for a in args)
        case If(_, then, other):
            return integral(then, env) and integral(other, env)
        case Stack(items):
            return all(integral(i, env) for i in items)
        case Each() | SumOver():
            return integral(e.body, env)


def _integral_name(name: str, env: Env) -> bool:
    if env.arguments is not None:
        return name in env.arguments and env.arguments[name].discrete
    entry = env.scope.entries.get(name)
    if entry is None:
        return False
    if entry.body is not None:
        return entry.whole
    return entry.domain is not None and entry.domain.discrete


def plain_domain(e: Expr, env: Env) -> tuple[Domain, Entry | None] | None:
    """The domain of a variable that stands alone, whole or indexed."""
    base = e.base if isinstance(e, Index) else e
    if not isinstance(base, Var):
        return None
    if env.arguments is not None:
        found = env.arguments.get(base.name)
        return None if found is None else (found, None)
    entry = env.scope.entries.get(base.name)
    return None if entry is None or entry.domain is None else (entry.domain, entry)


def places(e: Expr, env: Env) -> Size | None:
    """How many values an index takes, where a variable or loop stands alone: `category[K]` K, `bool` 2."""
    if isinstance(e, Loop):
        return e.size
    found = plain_domain(e, env)
    if found is None:
        return None
    domain, entry = found
    match domain.kind:
        case "category" | "index":
            return rowed(domain.levels, entry, e) if domain.levels is not None else None
        case "bool":
            return Dim.of(2)
        case _:
            return None


def truth(e: Expr, env: Env) -> Expr:
    """A condition as 0 or 1: a number that is neither a comparison nor a bool holds where it is not 0."""
    match e:
        case Call(fn, _) if fn in COMPARISONS:
            return e
        case Num(0 | 1):
            return e
    found = plain_domain(e, env)
    if found is not None and found[0].kind == "bool":
        return e
    return Call("ne", (e, Num(0, e.span)), e.shape, e.span)


def rowed(size: Size, entry: Entry | None, e: Expr) -> Size:
    """A ragged length of an entry, said in the loop names of the place where the entry is indexed."""
    if not isinstance(size, Ragged) or entry is None or not isinstance(e, Index):
        return size
    return Ragged(size.name, row_names(entry, e.args).get(size.by, "?"))


def row_names(entry: Entry, args: tuple[Expr, ...]) -> Mapping[str, str]:
    """The entry's own loop names -> the loop names it is indexed with here (`?` where it is no loop name)."""
    pairs = zip(entry.plates, args, strict=False)
    return {plate.index: arg.name if isinstance(arg, Loop) else "?" for plate, arg in pairs}
