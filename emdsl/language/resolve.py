"""Text to the typed model: every stage of the language in order."""

from __future__ import annotations

from collections.abc import Mapping

from emdsl.errors import ModelError, Problem, Span
from emdsl.language import syntax as s
from emdsl.language.bounds import bounded_counts
from emdsl.language.checks import final_problems, warnings
from emdsl.language.declarations import array_of, entry_typing, plates_of
from emdsl.language.distributions import distribution, leaves
from emdsl.language.entries import entry_of
from emdsl.language.expressions import scalar, typed
from emdsl.language.families import declare_families
from emdsl.language.inference import infer_lines, overridden
from emdsl.language.lengths import is_open
from emdsl.language.model import (
    Dim,
    Domain,
    Family,
    Let,
    ModelText,
    Potential,
    SizeDecl,
    Variable,
)  # fmt: skip
from emdsl.language.names import collect, flatten
from emdsl.language.parser import Parsed, parse_text
from emdsl.language.positions import length
from emdsl.language.reading import printable, read_text
from emdsl.language.scope import Entry, Env, Item, Scope, Stop, wrong
from emdsl.language.settle import settled_let, settled_potential, settled_variable


def parse_model(
    text: str | bytes, file: str, families: Mapping[str, Family], infer: Mapping[str, str] | None = None
) -> ModelText:
    """The resolved model of a text.

    `families` are those every model knows; `infer` replaces the file's `infer` lines for the names it gives. Raises ModelError with all problems found, each with
    its place; never any other exception, whatever the bytes.
    """
    clean = read_text(text, file)
    parsed = parse_text(clean, file)
    try:
        return _resolved(parsed, clean, file, families, infer or {})
    except RecursionError:
        span = Span(file, 1, 1, 1, 2)
        raise ModelError(Problem("E010", "the model nests too deeply", span), printable(clean)) from None


def parse_families(text: str | bytes, file: str) -> tuple[Family, ...]:
    """The families of a file that holds `family` declarations alone. Raises ModelError."""
    clean = read_text(text, file)
    parsed = parse_text(clean, file)
    problems = list(parsed.problems)
    for statement in parsed.statements:
        if not isinstance(statement, s.FamilyLine):
            problems.append(Problem("E017", "only `family` declarations stand in this file", statement.span))
    scope = Scope({}, entry_typing, prelude=True, problems=problems)
    declare_families([st for st in parsed.statements if isinstance(st, s.FamilyLine)], scope, user=False)
    if scope.problems:
        raise ModelError(scope.problems, printable(clean))
    return tuple(scope.families.values())


def _resolved(
    parsed: Parsed, text: str, file: str, families: Mapping[str, Family], override: Mapping[str, str]
) -> ModelText:
    scope = Scope(dict(families), entry_typing, unread=parsed.unread, problems=list(parsed.problems))
    items = list(flatten(parsed.statements))
    name = _model_name(items, scope, file)
    for item in items:
        if item.headers and isinstance(item.statement, s.FamilyLine | s.InferLine | s.ModelLine):
            message = "`family`, `infer` and `model` stand outside all plates"
            scope.problems.append(Problem("E018", message, item.statement.span))
    declare_families([i.statement for i in items if isinstance(i.statement, s.FamilyLine)], scope, user=True)
    collect(items, scope)
    variables = [v for v in (_variable(i, scope) for i in items) if v is not None]
    lets = [v for v in (_let(i, scope) for i in items) if v is not None]
    potentials = [v for v in (_potential(i, scope) for i in items) if v is not None]
    for item in items:
        if isinstance(item.statement, s.ForBlock):
            with scope.catching():
                plates_of((*item.headers, item.statement), scope, "")
    bounded_counts(variables, scope)
    sizes = _sizes(items, scope)
    _open_lengths(variables, scope)
    infer = infer_lines([i.statement for i in items if isinstance(i.statement, s.InferLine)], scope)
    infer = overridden(infer, override, scope)
    own = tuple(scope.families[f] for f in scope.families if f not in families)
    model = ModelText(
        name, tuple(sizes),
        tuple(settled_variable(v, scope) for v in variables),
        tuple(settled_let(v, scope) for v in lets),
        tuple(settled_potential(v, scope) for v in potentials),
        own, tuple(infer), text, (), _equal_sizes(scope),
    )  # fmt: skip
    scope.problems += final_problems(model, scope)
    if scope.problems:
        raise ModelError(_in_order(scope.problems), printable(text))
    return ModelText(*(getattr(model, f) for f in ("name", "sizes", "variables", "lets", "potentials", "families", "infer", "source")),
                     warnings(model, scope), model.equal_sizes)  # fmt: skip


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
        made = Variable(statement.kind, name, entry.plates, entry.array, entry.domain, None, None, statement.span)  # type: ignore[arg-type]
        return _with_value(made, statement, entry, env)
    return None


def _with_value(made: Variable, statement: s.Declaration, entry: Entry, env: Env) -> Variable:
    from dataclasses import replace

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


def _default(made: Variable, value: s.Node, env: Env) -> object:
    default = typed(value, env)
    lengths = env.scope.lengths
    shape = made.array + made.domain.dims
    if default.shape and not lengths.equate_shapes(default.shape, shape, value.span):
        from emdsl.language.functions import show

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


# ---------------------------------------------------------------------------- sizes


def _sizes(items: list[Item], scope: Scope) -> list[SizeDecl]:
    defaults: dict[str, Dim | None] = {}
    for item in items:
        if isinstance(item.statement, s.SizeLine) and item.statement.default is not None:
            with scope.catching():
                size = length(item.statement.default, Env(scope, ""))
                if not isinstance(size, Dim):
                    raise wrong("E026", "a size has one length", item.statement.default.span)
                defaults.setdefault(item.statement.name, size)
    _size_cycle(defaults, scope)
    return [SizeDecl(n, defaults.get(n), n in scope.declared, span) for n, span in scope.sizes.items()]


def _size_cycle(defaults: Mapping[str, Dim | None], scope: Scope) -> None:
    for name in defaults:
        chain, at = [name], defaults[name]
        while at is not None and len(chain) <= len(defaults) + 1:
            step = next((n for n in at.names if n in defaults), None)
            if step is None:
                break
            chain.append(step)
            if step == name:
                span = scope.sizes[name]
                scope.problems.append(
                    Problem("E050", f"the size `{name}` depends on itself: {' -> '.join(chain)}", span)
                )
                return
            at = defaults[step]


def _open_lengths(variables: list[Variable], scope: Scope) -> None:
    """Lengths that no text names: the data name those of observed variables; others are undetermined."""
    lengths = scope.lengths
    for v in sorted(variables, key=lambda v: v.kind != "observed"):
        found = [*v.shape, *([v.domain.levels] if v.domain.levels is not None else [])]
        for size in found:
            known = lengths.known(size)
            if not is_open(known) or not isinstance(known, Dim):
                continue
            unknown = next(n for n in known.names if n.startswith("?"))
            if v.kind != "observed" and not scope.problems:
                hint = f"declare its domain: `{v.name} : {_form(v.domain)}`"
                scope.problems.append(Problem("E036", f"nothing determines the length of `{v.name}`", v.span, hint))
            base = f"{v.name}_{'levels' if size == v.domain.levels else 'length'}"
            name = base if not scope.taken(base) else f"{base}_{lengths.count}"
            scope.sizes[name] = v.span
            lengths.solved[unknown] = Dim.of(name)


def _form(domain: Domain) -> str:
    return f"{domain.kind}[{'K' if domain.levels is not None else 'D'}]"


def _equal_sizes(scope: Scope) -> tuple[tuple[Dim, Dim, Span], ...]:
    lengths, out, seen = scope.lengths, [], set()
    for a, b, span in lengths.equal:
        x, y = lengths.known(a), lengths.known(b)
        key = (x, y)
        if x != y and key not in seen and isinstance(x, Dim) and isinstance(y, Dim):
            seen.add(key)
            out.append((x, y, span))
    return tuple(out)


__all__ = ["Stop", "array_of", "leaves", "parse_families", "parse_model"]
