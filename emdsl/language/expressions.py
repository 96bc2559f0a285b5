"""Expressions typed: names found, shapes inferred, lengths equated."""

from __future__ import annotations

from typing import assert_never

from emdsl.errors import Span
from emdsl.language import syntax as s
from emdsl.language.entries import entry_of
from emdsl.language.functions import (
    FUNCTIONS,
    MAKERS,
    OPERATORS,
    PRELUDE_FUNCTIONS,
    BadShape,
    elementwise,
    matmul,
    show,
    transpose,
)
from emdsl.language.indexing import subscript
from emdsl.language.integers import integral, truth
from emdsl.language.model import Call, Dim, Each, Expr, If, Loop, Num, Pi, Size, SizeOf, Stack, SumOver, Var
from emdsl.language.positions import length
from emdsl.language.scope import Env, Reference, Stop, undeclared, unknown_function, wrong
from emdsl.language.transform import names_in

_LONG = 8  # operands of one precedence before a sum is built as a balanced tree


def typed(node: s.Node, env: Env) -> Expr:
    """The typed expression. Raises Stop with the first problem found in it."""
    match node:
        case s.Number(value, span):
            return Num(value, span)
        case s.Name(name, span):
            return _name(name, span, env)
        case s.Subscript(s.ListOf((first, second), ()), (s.Comparison() | s.Logic() as cond,), span) if not names_in(
            condition(cond, env)
        ):  # one of two by a condition on positions: the other is not reached
            return _conditional(s.Conditional(cond, second, first, span), env)
        case s.Subscript(base, args, span):
            return subscript(base, args, span, env, typed)
        case s.Attribute(base, name, span):
            return _attribute(base, name, span, env)
        case s.Apply():
            return _apply(node, env)
        case s.Chain():
            return _chain(node, env)
        case s.Comparison():
            return _comparison(node, env)
        case s.Logic():
            return _logic(node, env)
        case s.Unary(operator, operand, span):
            of = typed(operand, env)
            return _unary(operator, truth(of, env) if operator == "not" else of, span)
        case s.Power(base, exponent, span):
            return combine("pow", typed(base, env), typed(exponent, env), span, env)
        case s.Conditional():
            return _conditional(node, env)
        case s.ListOf():
            return _list(node, env)
        case s.Keyword() | s.Clause():
            raise wrong("E014", "not an expression", node.span)
        case _:
            assert_never(node)


def scalar(node: s.Node, env: Env, what: str) -> Expr:
    """A typed expression that must be a number."""
    value = typed(node, env)
    if value.shape:
        raise wrong("E032", f"{what} is a number, not {_show(value, env)}", node.span)
    return value


def condition(node: s.Node, env: Env) -> Expr:
    """A typed expression that decides: a number, taken as 0 or 1."""
    return truth(scalar(node, env, "a condition"), env)


def combine(fn: str, a: Expr, b: Expr, span: Span, env: Env) -> Expr:
    """`fn(a, b)` for an operator."""
    rule = matmul if fn == "matmul" else elementwise
    if fn in ("floordiv", "mod"):
        for operand in (a, b):
            if not integral(operand, env):
                symbol = "//" if fn == "floordiv" else "%"
                raise wrong("E033", f"`{symbol}` is for integers", operand.span, "real division is `/`")
    return Call(fn, (a, b), _shaped(rule, (a, b), span, env), span)


def _shaped(rule: object, args: tuple[Expr, ...], span: Span, env: Env) -> tuple[Size, ...]:
    env.scope.lengths.place = span
    try:
        return rule(tuple(a.shape for a in args), env.scope.lengths)  # type: ignore[operator,no-any-return]
    except BadShape as error:
        raise wrong("E030", str(error), span, env.scope.lengths.because()) from None


def _show(e: Expr, env: Env) -> str:
    return show(env.scope.lengths.settle(e.shape))


# ---------------------------------------------------------------------------- leaves


def _name(name: str, span: Span, env: Env) -> Expr:
    if name in env.loops:
        return Loop(name, env.loops[name], span)
    if env.arguments is not None and name in env.arguments:
        return Var(name, env.arguments[name].dims, span)
    if env.is_size(name):
        env.scope.size_uses[name] = env.scope.size_uses.get(name, 0) + 1
        return SizeOf(length(s.Name(name, span), env), span)
    if env.arguments is None and name in env.scope.items:
        entry = entry_of(name, env.scope, span)
        reference = Reference(env.owner, name, (), env.guards, tuple(env.loops.items()), span)
        env.scope.references.append(reference)
        return Var(name, entry.shape, span)
    if env.arguments is None and name in env.scope.ragged:
        return SizeOf(length(s.Name(name, span), env), span)
    if name == "pi":
        return Pi(span)
    raise undeclared(name, env, span)


def _attribute(base: s.Node, name: str, span: Span, env: Env) -> Expr:
    if name != "T":
        raise wrong("E016", f"`.{name}` means nothing here", span, "a transpose is written `.T`")
    value = typed(base, env)
    return Call("transpose", (value,), _shaped(transpose, (value,), span, env), span)


# ---------------------------------------------------------------------------- operators


def _unary(operator: str, value: Expr, span: Span) -> Expr:
    match operator:
        case "-":
            return Num(-value.value, span) if isinstance(value, Num) else Call("neg", (value,), value.shape, span)
        case "not":
            return Call("not", (value,), value.shape, span)
        case _:
            return value


def _chain(node: s.Chain, env: Env) -> Expr:
    operators = {operator for operator, _ in node.rest}
    if len(node.rest) > _LONG and operators <= {"+", "-"}:
        terms = [typed(node.first, env)]
        for operator, operand in node.rest:
            value = typed(operand, env)
            terms.append(_unary("-", value, value.span) if operator == "-" else value)
        return _balanced("add", terms, node.span, env)
    if len(node.rest) > _LONG and operators == {"*"}:
        return _balanced("mul", [typed(n, env) for n in (node.first, *(o for _, o in node.rest))], node.span, env)
    if len(node.rest) > 100:
        raise wrong("E010", "a product of more than 100 factors", node.span, "name a part with `let`")
    out = typed(node.first, env)
    for operator, operand in node.rest:
        value = typed(operand, env)
        out = combine(OPERATORS[operator], out, value, _between(node.span, value.span), env)
    return out


def _between(start: Span, end: Span) -> Span:
    return Span(start.file, start.line, start.column, end.end_line, end.end_column)


def _balanced(fn: str, terms: list[Expr], span: Span, env: Env) -> Expr:
    """A long sum or product as a tree of logarithmic depth."""
    while len(terms) > 1:
        pairs = [combine(fn, terms[i], terms[i + 1], span, env) for i in range(0, len(terms) - 1, 2)]
        terms = pairs + terms[len(pairs) * 2 :]
    return terms[0]


def _comparison(node: s.Comparison, env: Env) -> Expr:
    left, out = typed(node.first, env), None
    if len(node.rest) > 100:
        raise wrong("E010", "a chain of more than 100 comparisons", node.span)
    for operator, operand in node.rest:
        right = typed(operand, env)
        one = combine(OPERATORS[operator], left, right, node.span, env)
        out = one if out is None else combine("and", out, one, node.span, env)
        left = right
    assert out is not None
    return out


def _logic(node: s.Logic, env: Env) -> Expr:
    """Short-circuit: what stands to the right is reached only where the left has not decided."""
    if len(node.items) > 100:
        raise wrong("E010", f"more than 100 operands of `{node.operator}`", node.span, "name a part with `let`")
    out = truth(typed(node.items[0], env), env)
    for item in node.items[1:]:
        env = env.guarded(out, node.operator == "and")
        out = combine(node.operator, out, truth(typed(item, env), env), node.span, env)
    return out


def _conditional(node: s.Conditional, env: Env) -> Expr:
    cond = condition(node.cond, env)
    then = typed(node.then, env.guarded(cond, True))
    other = typed(node.other, env.guarded(cond, False))
    if not env.scope.lengths.equate_shapes(then.shape, other.shape, node.span):
        message = f"the branches differ: {_show(then, env)} and {_show(other, env)}"
        raise wrong("E030", message, node.span, "`zeros(D)` and `ones(D)` make vectors")
    return If(cond, then, other, then.shape, node.span)


# ---------------------------------------------------------------------------- lists and sums


def _list(node: s.ListOf, env: Env) -> Expr:
    if node.clauses:
        if len(node.clauses) > 1 or node.clauses[0].cond is not None:
            hint = "nest them: `[[... for j in J] for i in I]`"
            raise wrong("E016", "a list runs over one size, without a condition", node.span, hint)
        clause = node.clauses[0]
        size = _clause_size(clause, env)
        body = typed(node.items[0], env.inside(clause.index, size))
        return Each(clause.index, size, body, (size, *body.shape), node.span)
    if not node.items:
        raise wrong("E030", "an empty list has no shape", node.span)
    items = tuple(typed(i, env) for i in node.items)
    for item, written in zip(items, node.items, strict=True):
        if not env.scope.lengths.equate_shapes(items[0].shape, item.shape, node.span):
            message = f"the entries of a list have one shape: {_show(items[0], env)}, then {_show(item, env)}"
            raise wrong("E030", message, written.span)
    return Stack(items, (Dim.of(len(items)), *items[0].shape), node.span)


def _clause_size(clause: s.Clause, env: Env) -> Size:
    name = clause.index
    taken = env.arguments is not None and (name in env.arguments or name in env.sizes)
    if name in env.loops or taken or (env.arguments is None and env.scope.taken(name)):
        raise wrong("E022", f"the loop name `{name}` is taken", clause.span, "choose another loop name")
    return length(clause.size, env)


def _sum_over(node: s.Apply, env: Env) -> Expr:
    opened: list[tuple[s.Clause, Size, Expr | None]] = []
    for clause in node.clauses:
        size = _clause_size(clause, env)
        env = env.inside(clause.index, size)
        cond = None
        if clause.cond is not None:
            cond = condition(clause.cond, env)
            env = env.guarded(cond, True)
        opened.append((clause, size, cond))
    out = typed(node.args[0], env)
    for clause, size, cond in reversed(opened):
        out = SumOver(clause.index, size, cond, out, out.shape, node.span)
    return out


# ---------------------------------------------------------------------------- functions


def _apply(node: s.Apply, env: Env) -> Expr:
    name = node.name
    if name in env.scope.families and name not in FUNCTIONS:
        hint = f"a distribution stands after `~`: `latent name ~ {name}(...)`"
        raise wrong("E043", f"`{name}(...)` is a distribution, not a value", node.span, hint)
    if name in MAKERS:
        return _maker(node, env)
    function = FUNCTIONS.get(name) or (PRELUDE_FUNCTIONS.get(name) if env.scope.prelude else None)
    if function is None:
        raise unknown_function(name, env.scope, node.name_span, families=False)
    if node.keywords:
        raise wrong("E035", f"`{name}` takes no keyword arguments", node.keywords[0].span, f"write `{function.form}`")
    if node.clauses:
        if name != "sum":
            raise wrong(
                "E016",
                f"only `sum` runs over a size; `{name}` takes a list",
                node.span,
                f"write `{name}([... for i in SIZE])`",
            )
        return _sum_over(node, env)
    count = len(node.args)
    if count < function.least or (function.most is not None and count > function.most):
        raise wrong(
            "E035",
            f"`{name}` takes {_number(function.least, function.most)}, not {count}",
            node.span,
            f"write `{function.form}`",
        )
    args = tuple(typed(a, env) for a in node.args)
    if name in ("min", "max") and count > 2:
        return _balanced(name, list(args), node.span, env)
    return Call(name, args, _shaped(function.shape, args, node.span, env), node.span)


def _number(least: int, most: int | None) -> str:
    if most is None:
        return f"at least {least} argument{'s' if least > 1 else ''}"
    return f"{least} argument{'s' if least > 1 else ''}" if least == most else f"{least} to {most} arguments"


def _maker(node: s.Apply, env: Env) -> Expr:
    form, least, most = MAKERS[node.name]
    if not least <= len(node.args) <= most or node.keywords or node.clauses:
        raise wrong("E035", f"`{node.name}` takes {_number(least, most)}: its lengths", node.span, f"write `{form}`")
    shape = tuple(length(a, env) for a in node.args)
    return Call(node.name, (), shape * 2 if node.name == "eye" else shape, node.span)


__all__ = ["Stop", "combine", "scalar", "typed"]
