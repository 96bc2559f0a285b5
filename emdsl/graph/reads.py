"""What an expression reads: variables, at which indices, as values or to select among others.

Walks with a stack of its own: a sum of twenty thousand terms is a tree as deep.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from emdsl.language import model as m
from emdsl.language.model import Call, Each, Expr, If, Index, Loop, Num, Stack, SumOver, Var, children, walk


@dataclass(frozen=True)
class Read:
    """`name[args]`; `selects` where its value only chooses among others; `through`: variables that are its indices."""

    name: str
    args: tuple[Expr, ...] = ()
    selects: bool = False
    through: tuple[str, ...] = ()


def reads(e: Expr, lets: Mapping[str, m.Let], selects: bool = False) -> Iterator[Read]:
    """Every variable that `e` reads, in its order, with `lets` written out."""
    stack = [(e, selects)]
    while stack:
        node, choice = stack.pop()
        below: list[tuple[Expr, bool]] = []
        match node:
            case Var(name) if name in lets:
                below = [(lets[name].body, choice)]
            case Var(name):
                yield Read(name, (), choice)
            case Index(Var(name), args) if name in lets:
                body, rest = unfolded(lets[name], args)
                below = [(body, choice), *((a, speaks(body)) for a in rest)]
            case Index(Var(name), args):
                yield Read(name, args, choice, tuple(heads(args)))
                below = [(a, True) for a in args]
            case Index(base, args):
                below = [(base, choice), *((a, speaks(base)) for a in args)]
            case If(cond, then, other):
                some = speaks(then) or speaks(other)
                below = [(cond, some or choice), (then, choice), (other, choice)]
            case _:
                below = [(c, choice) for c in children(node)]
        stack.extend(reversed(below))


def speaks(e: Expr) -> bool:
    """Whether it holds any variable."""
    return any(isinstance(x, Var) for x in walk(e))


def heads(args: tuple[Expr, ...]) -> Iterator[str]:
    """The variables that stand as indices themselves: `group` of `mean[group[n]]`."""
    for a in args:
        match a:
            case Var(name) | Index(Var(name)):
                yield name


def unfolded(let: m.Let, args: tuple[Expr, ...]) -> tuple[Expr, tuple[Expr, ...]]:
    """A `let`'s body at these indices, and the indices that are left for the body itself."""
    values = {p.index: a for p, a in zip(let.plates, args, strict=False)}
    moved = {n: a for n, a in values.items() if not (isinstance(a, Loop) and a.name == n)}
    return (at(let.body, moved) if moved else let.body), args[len(let.plates) :]


def at(e: Expr, values: Mapping[str, Expr]) -> Expr:
    """The expression with loop names replaced."""
    match e:
        case Loop(name):
            return values.get(name, e)
        case Index():
            return replace(e, base=at(e.base, values), args=tuple(at(a, values) for a in e.args))
        case Call():
            return replace(e, args=tuple(at(a, values) for a in e.args))
        case If():
            return replace(e, cond=at(e.cond, values), then=at(e.then, values), other=at(e.other, values))
        case Stack():
            return replace(e, items=tuple(at(i, values) for i in e.items))
        case Each() | SumOver():
            inner = {n: v for n, v in values.items() if n != e.index}
            body = at(e.body, inner)
            if isinstance(e, SumOver) and e.cond is not None:
                return replace(e, body=body, cond=at(e.cond, inner))
            return replace(e, body=body)
    return e


def of_distribution(d: m.Dist | None, lets: Mapping[str, m.Let]) -> Iterator[Read]:
    """What a distribution reads; conditions between families select."""
    match d:
        case m.FamilyCall():
            for _, e in d.args:
                yield from reads(e, lets)
        case m.Branch():
            yield from reads(d.cond, lets, selects=True)
            yield from of_distribution(d.then, lets)
            yield from of_distribution(d.other, lets)


SIGNS = {"lt": "<", "le": "≤", "gt": ">", "ge": "≥", "eq": "=", "ne": "≠", "add": "+", "sub": "−", "mod": "mod"}
WORDS = {"and": " and ", "or": " or "}
LONGEST = 24


def spelt(e: Expr) -> str:
    """A short index or condition in symbols; empty where it is too long to stand in a figure."""
    out = _spelt(e, 0)
    return out if "…" not in out and len(out) <= LONGEST else ""


def _spelt(e: Expr, depth: int) -> str:
    if depth > 6:
        return "…"
    match e:
        case Num(value):
            return str(value)
        case Loop(name) | Var(name):
            return name
        case m.SizeOf(size):
            return str(size)
        case Index(Var(name), args):
            return f"{name}[{', '.join(_spelt(a, depth + 1) for a in args)}]"
        case Call("neg", (a,)):
            return f"−{_spelt(a, depth + 1)}"
        case Call("not", (a,)):
            return f"not {_spelt(a, depth + 1)}"
        case Call(fn, (a, b)) if fn in SIGNS and fn != "mod":
            between = SIGNS[fn] if fn in ("add", "sub") else f" {SIGNS[fn]} "
            return f"{_spelt(a, depth + 1)}{between}{_spelt(b, depth + 1)}"
        case Call("mod", (a, b)):
            return f"{_spelt(a, depth + 1)} mod {_spelt(b, depth + 1)}"
        case Call(fn, args) if fn in WORDS:
            return WORDS[fn].join(_spelt(a, depth + 1) for a in args)
    return "…"
