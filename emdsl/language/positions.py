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
        raise wrong("E025", f"a size is a positive integer, not {constant}", node.span)
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
        case s.Apply("range" | "len"):
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
            f"write `{name}[...]` with the loop name it depends on",
        )
    if name in env.loops:
        raise wrong("E025", f"`{name}` is a loop name, not a size", span)
    if env.arguments is not None and name in env.arguments:
        raise wrong("E025", f"`{name}` is an argument, not a size", span)
    if env.arguments is None and name in env.scope.items:
        raise wrong("E025", f"`{name}` is a variable, not a size", span)
    raise undeclared(name, env, span)


def ragged(name: str, args: tuple[s.Node, ...], span: Span, env: Env) -> Ragged:
    """`T[s]`: one loop name of an enclosing plate that is not ragged itself."""
    scope = env.scope
    if name not in scope.ragged:
        if name in scope.sizes:
            raise wrong("E026", f"`{name}` is a size of one length; `{name}[...]` would be ragged", span)
        if name in scope.items:
            raise wrong("E025", f"`{name}` is a variable, not a size", span)
        raise undeclared(name, env, span)
    if len(args) != 1 or not isinstance(args[0], s.Name):
        hint = (
            "flatten the outer one: one plate over all its rows, with a given for the group" if len(args) > 1 else None
        )
        raise wrong("E026", f"`{name}[...]` takes the one loop name that its length depends on", span, hint)
    by = args[0].name
    if by not in env.loops:
        raise wrong(
            "E026", f"`{by}` is not a loop name here", args[0].span, f"`{name}[{by}]` stands inside `for {by} in ...:`"
        )
    if not scope.lengths.equate(scope.parents.setdefault(name, env.loops[by]), env.loops[by], span):
        message = f"`{name}[{by}]`: `{name}` runs over {scope.parents[name]} elsewhere, `{by}` over {env.loops[by]}"
        raise wrong("E026", message, span)
    if isinstance(env.loops[by], Ragged):
        raise wrong("E026", "a ragged plate inside a ragged plate is not supported", span,
                    "flatten the outer one: one plate over all its rows, with a given for the group")  # fmt: skip
    return Ragged(name, by)
