"""Text to the typed model: every stage of the language in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from emdsl.errors import ModelError, Problem, Span
from emdsl.language import syntax as s
from emdsl.language.bounds import bounded_counts
from emdsl.language.checks import final_problems, warnings
from emdsl.language.declarations import entry_typing, plates_of
from emdsl.language.distributions import distribution
from emdsl.language.entries import entry_of
from emdsl.language.expressions import scalar, typed
from emdsl.language.families import declare_families
from emdsl.language.functions import show
from emdsl.language.inference import infer_lines, overridden
from emdsl.language.lookups import lookups
from emdsl.language.model import Expr, Family, Let, ModelText, Potential, Variable
from emdsl.language.names import collect, flatten
from emdsl.language.parser import Parsed, parse_text
from emdsl.language.reading import printable, read_text
from emdsl.language.scope import Env, Item, Scope, wrong
from emdsl.language.settle import settled_let, settled_potential, settled_variable
from emdsl.language.sizes import equal_sizes, open_lengths, sizes


def parse_model(
    text: str | bytes, file: str, families: Mapping[str, Family], infer: Mapping[str, str] | None = None
) -> ModelText:
    """The resolved model of a text.

    `families` are those every model knows; `infer` replaces the file's `infer` lines for the
    names it gives. Raises ModelError with all problems found, each with its place; never any other
    exception, whatever the bytes.
    """
    clean = read_text(text, file)
    parsed = parse_text(clean, file)
    try:
        return _resolved(parsed, clean, file, families, infer or {})
    except RecursionError:
        raise ModelError(_too_deep(file), printable(clean)) from None


def _too_deep(file: str) -> Problem:
    return Problem(
        "E010", "the model nests too deeply", Span(file, 1, 1, 1, 2), "name parts with `let`, first things first"
    )


def parse_families(text: str | bytes, file: str) -> tuple[Family, ...]:
    """The families of a file that holds `family` declarations alone. Raises ModelError."""
    clean = read_text(text, file)
    parsed = parse_text(clean, file)
    problems = list(parsed.problems)
    for statement in parsed.statements:
        if not isinstance(statement, s.FamilyLine):
            problems.append(Problem("E017", "only `family` declarations stand in this file", statement.span))
    scope = Scope({}, entry_typing, prelude=True, problems=problems)
    try:
        declare_families([st for st in parsed.statements if isinstance(st, s.FamilyLine)], scope, user=False)
    except RecursionError:
        raise ModelError(_too_deep(file), printable(clean)) from None
    if scope.problems:
        raise ModelError(scope.problems, printable(clean))
    return tuple(scope.families.values())


def _resolved(
    parsed: Parsed, text: str, file: str, families: Mapping[str, Family], override: Mapping[str, str]
) -> ModelText:
    scope = Scope(dict(families), entry_typing, unread=parsed.unread, problems=list(parsed.problems))
    items = list(flatten(parsed.statements))
    name = _model_name(items, scope, file)
    _misplaced(items, scope)
    declare_families([i.statement for i in items if isinstance(i.statement, s.FamilyLine)], scope, user=True)
    collect(items, scope)
    variables = [v for v in (_variable(i, scope) for i in items) if v is not None]
    lets = [v for v in (_let(i, scope) for i in items) if v is not None]
    potentials = [v for v in (_potential(i, scope) for i in items) if v is not None]
    _empty_plates(items, scope)
    bounded_counts(variables, scope)
    open_lengths(variables, scope)
    infer = infer_lines([i.statement for i in items if isinstance(i.statement, s.InferLine)], scope)
    model = ModelText(
        name=name,
        sizes=tuple(sizes(items, scope)),
        variables=tuple(settled_variable(v, scope) for v in variables),
        lets=tuple(settled_let(v, scope) for v in lets),
        potentials=tuple(settled_potential(v, scope) for v in potentials),
        families=tuple(scope.families[f] for f in scope.families if f not in families),
        infer=tuple(overridden(infer, override, scope)),
        source=text,
        equal_sizes=equal_sizes(scope),
    )
    scope.problems += final_problems(model, scope)
    if scope.problems:
        raise ModelError(_in_order(scope.problems), printable(text))
    return replace(model, warnings=warnings(model, scope), lookups=lookups(model, scope))


def _misplaced(items: list[Item], scope: Scope) -> None:
    for item in items:
        if item.headers and isinstance(item.statement, s.FamilyLine | s.InferLine | s.ModelLine):
            message = "`family`, `infer` and `model` stand outside all plates"
            scope.problems.append(Problem("E018", message, item.statement.span))


def _empty_plates(items: list[Item], scope: Scope) -> None:
    """Plates are typed with what stands in them; this is for those where nothing does."""
    for item in items:
        if isinstance(item.statement, s.ForBlock):
            with scope.catching():
                plates_of((*item.headers, item.statement), scope, "")


def _in_order(problems: list[Problem]) -> list[Problem]:
    seen: dict[tuple[str, Span], Problem] = {}
    for p in problems:
        seen.setdefault((p.message, p.span), p)
    return sorted(seen.values(), key=lambda p: (p.span.line, p.span.column))[:100]


def _model_name(items: list[Item], scope: Scope, file: str) -> str:
    found = [i.statement for i in items if isinstance(i.statement, s.ModelLine)]
    if not found and "model" not in scope.unread:
        if not scope.problems:
            where = items[0].statement.span if items else Span(file, 1, 1, 1, 2)
            scope.problems.append(Problem("E017", "no `model` line", where, "the first statement is `model Name`"))
        return ""
    for again in found[1:]:
        scope.problems.append(
            Problem("E017", f"a second `model` line: the first is line {found[0].span.line}", again.span)
        )
    if found and items[0].statement is not found[0] and not scope.problems:
        scope.problems.append(Problem("E017", "the `model` line is the first statement", found[0].span))
    return found[0].name if found else ""


# ---------------------------------------------------------------------------- declarations


def _variable(item: Item, scope: Scope) -> Variable | None:
    statement = item.statement
    if not isinstance(statement, s.Declaration):
        return None
    name = statement.target.name
    if scope.items.get(name) is not item:
        return None
    with scope.catching():
        entry = entry_of(name, scope, statement.target.span)
        assert entry.domain is not None
        _, env = plates_of(item.headers, scope, name)
        made = Variable(statement.kind, name, entry.plates, entry.array, entry.domain, span=statement.span)  # type: ignore[arg-type]
        return _with_value(made, statement, env)
    return None


def _with_value(made: Variable, statement: s.Declaration, env: Env) -> Variable:
    value = statement.value
    if value is None:
        if statement.kind in ("latent", "observed"):
            raise wrong("E042", f"`{made.name}` has no distribution", statement.target.span,
                        f"write `{statement.kind} {made.name} : ... ~ Family(...)`")  # fmt: skip
        return made
    if statement.kind == "given":
        return replace(made, default=_default(made, value, env))
    dist = distribution(value, env, made.domain, made.array, made.name)
    return replace(made, distribution=dist)


def _default(made: Variable, value: s.Node, env: Env) -> Expr:
    default = typed(value, env)
    lengths = env.scope.lengths
    shape = made.array + made.domain.dims
    if default.shape and not lengths.equate_shapes(default.shape, shape, value.span):
        message = (
            f"`{made.name}` is {show(lengths.settle(shape))}, its default is {show(lengths.settle(default.shape))}"
        )
        raise wrong("E030", message, value.span)
    return default


def _let(item: Item, scope: Scope) -> Let | None:
    statement = item.statement
    if not isinstance(statement, s.LetLine) or scope.items.get(statement.target.name) is not item:
        return None
    with scope.catching():
        entry = entry_of(statement.target.name, scope, statement.target.span)
        assert entry.body is not None
        return Let(entry.name, entry.plates, entry.body, statement.span)
    return None


def _potential(item: Item, scope: Scope) -> Potential | None:
    statement = item.statement
    if not isinstance(statement, s.FactorLine):
        return None
    with scope.catching():
        plates, env = plates_of(item.headers, scope, "")
        return Potential(scalar(statement.expression, env, "a factor"), plates, statement.span)
    return None
