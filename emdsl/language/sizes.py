"""The sizes of a model: their defaults, the lengths that no text names, the equations among them."""

from __future__ import annotations

from collections.abc import Mapping

from emdsl.errors import Problem, Span
from emdsl.language import syntax as s
from emdsl.language.lengths import is_open
from emdsl.language.model import Dim, Domain, Size, SizeDecl, Variable
from emdsl.language.positions import length
from emdsl.language.scope import Env, Item, Scope, wrong


def sizes(items: list[Item], scope: Scope) -> list[SizeDecl]:
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


def open_lengths(variables: list[Variable], scope: Scope) -> None:
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


def equal_sizes(scope: Scope) -> tuple[tuple[Size, Size, Span], ...]:
    """The named lengths that use has set equal."""
    lengths, out = scope.lengths, list[tuple[Size, Size, Span]]()
    seen: set[tuple[Size, Size]] = set()
    for a, b, span in lengths.equal:
        x, y = lengths.known(a), lengths.known(b)
        key = (x, y)
        if x != y and key not in seen and isinstance(x, Dim) and isinstance(y, Dim):
            seen.add(key)
            out.append((x, y, span))
    return tuple(out)
