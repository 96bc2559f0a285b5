"""All names of a file, before anything is typed: what is declared, and which names are sizes by where they stand."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from emdsl.errors import Problem, Span
from emdsl.language import syntax as s
from emdsl.language.functions import MAKERS
from emdsl.language.scope import Item, Scope

_GREEK = str.maketrans("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧοϲ", "ABEZHIKMNOPTYXoc")
_SPELT = {  # μ as mu, which a formula shows as μ
    chr(c): (word.capitalize() if kind == "CAPITAL" else word.lower()).replace("amda", "ambda")
    for c in (*range(0x391, 0x3A2), *range(0x3A3, 0x3AA), *range(0x3B1, 0x3CA))
    for _, kind, _, word in [unicodedata.name(chr(c)).replace("FINAL ", "").split()]
}
_LOWERED = re.compile(r"([^\W\d_]+)(0|_\w+)")


def flatten(statements: tuple[s.Statement, ...]) -> Iterator[Item]:
    """Every statement with the `for` lines around it; the `for` lines themselves too."""
    stack: list[Item] = [Item(st, ()) for st in reversed(statements)]
    while stack:
        item = stack.pop()
        yield item
        if isinstance(item.statement, s.ForBlock):
            inner = (*item.headers, item.statement)
            stack.extend(Item(st, inner) for st in reversed(item.statement.body))


def declared_name(statement: s.Statement) -> tuple[str, Span] | None:
    match statement:
        case s.SizeLine(name, _, _, name_span):
            return name, name_span
        case s.Declaration(_, target) | s.LetLine(target):
            width = len(target.name)
            t = target.span
            return target.name, Span(t.file, t.line, t.column, t.line, t.column + width)
        case _:
            return None


def collect(items: list[Item], scope: Scope) -> None:
    """Fills the scope's items, sizes and ragged sizes; reports names declared twice and clashing loop names."""
    first: dict[str, Span] = {}
    for item in items:
        found = declared_name(item.statement)
        if found is None:
            continue
        name, span = found
        if name in first:
            place = first[name]
            scope.problems.append(Problem("E020", f"`{name}` is declared twice: first at line {place.line}", span))
            continue
        first[name] = span
        if isinstance(item.statement, s.SizeLine):
            scope.sizes[name] = span
            scope.declared.add(name)
            if item.headers:
                scope.problems.append(Problem("E018", "a size is declared outside all plates", item.statement.span))
        else:
            scope.items[name] = item
    for item in items:
        _size_names(item, scope)
    loops = {i.statement.index: i.statement.index_span for i in items if isinstance(i.statement, s.ForBlock)}
    _lookalikes({**first, **scope.sizes, **loops}, scope)
    for item in items:
        _check_loop(item, scope)


def _lookalikes(names: dict[str, Span], scope: Scope) -> None:
    """A Greek letter that looks like a Latin one never makes a second variable silently, nor one that is spelt out:
    `mu` is printed as μ."""
    seen: dict[str, str] = {}
    printed: dict[str, str] = {}
    for name, span in names.items():
        plain, read = name.translate(_GREEK), _read(name)
        other = seen.get(plain) or printed.get(read)
        if other is not None:
            why = "look the same: one has Greek letters" if plain in seen else "are the same sign in formulas"
            scope.problems.append(Problem("E019", f"`{name}` and `{other}` {why}", span, "choose another name"))
        seen.setdefault(plain, name)
        printed.setdefault(read, name)


def _read(name: str) -> str:
    """A name as formulas show it: its Greek letter spelt out; `mu0` and `mu_0` are both a μ with a 0."""
    found = _LOWERED.fullmatch(name)
    head, below = found.groups() if found else (name, "")
    head = _SPELT.get(head, head)
    return head + ("0" if below == "_0" and (len(head) == 1 or head in _SPELT.values()) else below)


def _check_loop(item: Item, scope: Scope) -> None:
    block = item.statement
    if not isinstance(block, s.ForBlock):
        return
    outer = next((h for h in item.headers if h.index == block.index), None)
    if outer is not None:
        message = f"the loop name `{block.index}` is that of the enclosing plate at line {outer.span.line}"
    elif scope.taken(block.index):
        what = "variable" if block.index in scope.items else "size"
        message = f"the loop name `{block.index}` is also a {what}"
    else:
        return
    size = scope.sizes.get(block.index)
    first = f"move the line where `{block.index}` is a size (line {size.line}) under the `for`, or " if size else ""
    scope.problems.append(Problem("E022", message, block.index_span, f"{first}choose another loop name"))


def _size_names(item: Item, scope: Scope) -> None:
    """The undeclared names in size positions of one statement are sizes."""
    loops = {h.index for h in item.headers}
    if isinstance(item.statement, s.FamilyLine):
        return
    for position in _positions(item):
        _add_sizes(position, scope, loops)
    for expression in s.expressions(item.statement):
        inner = loops | _clause_loops(expression)
        for node, _ in s.descend(expression):
            match node:
                case s.Clause(_, size):
                    _add_sizes(size, scope, inner)
                case s.Apply(name, args) if name in MAKERS:
                    for arg in args:
                        _add_sizes(arg, scope, inner)
                case _:
                    pass


def _clause_loops(expression: s.Node) -> set[str]:
    return {node.index for node, _ in s.descend(expression) if isinstance(node, s.Clause)}


def _positions(item: Item) -> Iterator[s.Node]:
    match item.statement:
        case s.SizeLine(_, default) if default is not None:
            yield default
        case s.Declaration(_, target, domain):
            yield from (target.indices or ())[len(item.headers) :]
            if domain is not None:
                yield from domain.dims or ()
        case s.ForBlock(_, size):
            yield size
        case _:
            pass


def _add_sizes(position: s.Node, scope: Scope, loops: set[str]) -> None:
    """Names in a size position; `T[s]` there makes T ragged."""
    stack: list[s.Node] = [position]
    while stack:
        match stack.pop():
            case s.Name(name, span):
                scope.size_uses[name] = scope.size_uses.get(name, 0) + 1
                if name not in loops and not scope.taken(name):
                    scope.sizes[name] = span
            case s.Chain(first, rest):
                stack += [first, *(operand for _, operand in rest)]
            case s.Subscript(s.Name(name, span)):
                scope.size_uses[name] = scope.size_uses.get(name, 0) + 1
                if name in scope.sizes and name not in scope.declared:
                    del scope.sizes[name]  # `index[T]` stood before `for t in T[s]`
                if not scope.taken(name) and name not in loops:
                    scope.ragged[name] = span
            case _:
                pass
