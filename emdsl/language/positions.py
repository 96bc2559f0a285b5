"""Size positions: what stands where a length is meant."""

from __future__ import annotations

from emdsl.errors import Span
from emdsl.language import syntax as s
from emdsl.language.model import Dim, Ragged, Size
from emdsl.language.scope import Env, undeclared, wrong

_OPERATIONS = {"+": Dim.__add__, "-": Dim.__sub__, "*": Dim.__mul__}
LARGEST = 10**9


def length(node: s.Node, env: Env) -> Size:
    """The length that an expression in a size position means. Raises Stop where it is none."""
    size = _length(node, env)
    constant = size.constant if isinstance(size, Dim) else None
    if constant is not None and not 1 <= constant <= LARGEST:
        most = f" up to {LARGEST:,}" if constant > LARGEST else ""
        raise wrong("E025", f"a size is a positive integer{most}, not {constant}", node.span)
    return size


def _length(node: s.Node, env: Env) -> Size:
    match node:
        case s.Number(value, span):
            if not isinstance(value, int):
                raise wrong("E025", f"a size is a positive integer, not {value}", span)
            return Dim.of(value)
        case s.Name(name, span):
            return _named(name, span, env)
        case s.Subscript(s.Name(name), args, span):
            return ragged(name, args, span, env)
        case s.Chain(first, rest, span):
            total = _plain(_length(first, env), span)
            for operator, operand in rest:
                if operator not in _OPERATIONS:
                    raise wrong("E025", f"`{operator}` in a size: sizes are made with + - *", span)
                total = _OPERATIONS[operator](total, _plain(_length(operand, env), span))
                if len(total.terms) > 50:
                    raise wrong("E025", "this size has too many terms", span)
            return total
        case s.Apply("range" | "len") | s.Attribute(s.Number()):  # `1..T` is the transpose of `1.`
            raise wrong("E025", "not a size", node.span, "write the size itself: `for i in SIZE:` counts from 0")
        case _:
            raise wrong("E025", "not a size", node.span, "a size is a name, a positive integer, or + - * of these")


def _plain(size: Size, span: Span) -> Dim:
    if isinstance(size, Ragged):
        raise wrong("E026", f"the ragged length {size} stands alone in a size", span)
    return size


def _named(name: str, span: Span, env: Env) -> Size:
    if env.is_size(name):
        return Dim.of(name)
    if env.arguments is None and name in env.scope.ragged:
        by = [i for i, size in env.loops.items() if isinstance(size, Ragged) and size.name == name]
        if by:
            found = env.loops[by[0]]
            assert isinstance(found, Ragged)
            return found
        raise wrong(
            "E026",
            f"`{name}` is ragged: its length differs",
            span,
            f"write `{name}[...]` with the loop name it depends on; "
            "a position in any row of it is `index[M]`, of a new size",
        )
    if name in env.loops:
        raise wrong("E025", f"`{name}` is a loop name, not a size", span)
    if env.arguments is not None and name in env.arguments:
        raise wrong("E025", f"`{name}` is an argument, not a size", span)
    if env.arguments is None and name in env.scope.items:
        raise wrong("E025", f"`{name}` is a variable, not a size", span)
    raise undeclared(name, env, span)


def ragged(name: str, args: tuple[s.Node, ...], span: Span, env: Env) -> Ragged:
    """`T[s]`, `N[s, t]`: the loop name of an enclosing plate, perhaps after those of the plates around it."""
    scope = env.scope
    if name not in scope.ragged:
        if name in scope.sizes:
            raise wrong("E026", f"`{name}` is a size of one length; `{name}[...]` would be ragged", span)
        if name in scope.items:
            raise wrong("E025", f"`{name}` is a variable, not a size", span)
        raise undeclared(name, env, span)
    names = [a.name if isinstance(a, s.Name) else "" for a in args]
    by = names[-1]
    if by in env.loops and len(names) > 1 and names != list(env.loops)[: len(names)]:
        around = list(env.loops)
        wanted = ", ".join(around[: max(around.index(n) for n in (*names, by) if n in around) + 1])
        raise wrong("E026", f"the lengths `{name}[...]` differ by all plates around", span, f"write `{name}[{wanted}]`")
    if "" in names:
        hint = f"write `{name}[...]` with the loop name it depends on"
        if env.loops:  # `for t in T[g[s]]`
            own = f"L[{list(env.loops)[-1]}]"
            hint += f", or a size of its own, `{own}`: the data tell its lengths, and indices are checked against them"
        raise wrong("E026", f"`{name}[...]` takes loop names", span, hint)
    if by not in env.loops:
        hint = f"`{name}[{by}]` stands inside `for {by} in ...:`"
        raise wrong("E026", f"`{by}` is not a loop name here", args[-1].span, hint)
    if not scope.lengths.equate(scope.parents.setdefault(name, env.loops[by]), env.loops[by], span):
        message = f"`{name}[{by}]`: `{name}` runs over {scope.parents[name]} elsewhere, `{by}` over {env.loops[by]}"
        raise wrong("E026", message, span)
    return Ragged(name, by)
