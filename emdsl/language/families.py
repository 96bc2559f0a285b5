"""Families declared in the language: their own sizes, arguments, and the log density in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from emdsl.errors import Problem
from emdsl.language import syntax as s
from emdsl.language.domains import domain_of
from emdsl.language.expressions import scalar
from emdsl.language.functions import FUNCTIONS, MAKERS
from emdsl.language.model import Argument, Domain, Family, Signature
from emdsl.language.scope import Env, Scope, Stop, wrong


def declare_families(lines: list[s.FamilyLine], scope: Scope, user: bool) -> None:
    """Adds the families to the scope; a name declared again adds a parameterisation."""
    builtin = set(scope.families)
    for line in lines:
        with scope.catching():
            if line.name in builtin:
                raise wrong(
                    "E045", f"{line.name} is a family that every model knows", line.name_span, "choose another name"
                )
            if line.name in FUNCTIONS or line.name in MAKERS:
                raise wrong("E045", f"`{line.name}` is a function", line.name_span, "choose another name")
            made = _family(line, scope, user)
            known = scope.families.get(line.name)
            scope.families[line.name] = made if known is None else _added(known, made, line)


def _added(known: Family, made: Family, line: s.FamilyLine) -> Family:
    if (known.x, set(known.sizes)) != (made.x, set(made.sizes)):
        message = (
            f"{line.name} was declared for another `{known.x.name}`: every parameterisation is about the same variate"
        )
        raise wrong("E045", message, line.x.span)
    new = made.signatures[0]
    if any(s_.arguments == new.arguments for s_ in known.signatures):
        raise wrong("E045", f"{line.name} with these arguments is declared twice", line.name_span,
                    "a parameterisation has other argument names or domains")  # fmt: skip
    return replace(known, signatures=(*known.signatures, new))


def _family(line: s.FamilyLine, scope: Scope, user: bool) -> Family:
    texts = (line.x, *line.arguments)
    names = [a.name for a in texts]
    for a in texts:
        if names.count(a.name) > 1:
            raise wrong("E045", f"`{a.name}` stands twice among the arguments of {line.name}", a.span)
    sizes = tuple(dict.fromkeys(n for a in texts for n in _size_names(a.domain)))
    clash = next((a for a in texts if a.name in sizes), None)
    if clash is not None:
        raise wrong("E045", f"`{clash.name}` is both an argument and a size", clash.span)
    env = Env(scope, line.name, arguments={}, sizes=frozenset(sizes))
    plain = {a.name: domain_of(replace(a.domain, bounds=()), env) for a in texts}
    inside = replace(env, arguments=plain)
    domains = {a.name: domain_of(a.domain, inside) for a in texts}
    body = scalar(line.body, replace(env, arguments=domains), "a log density")
    optional = tuple(a.name for a in line.arguments if a.default is not None)
    for a in line.arguments:
        if a.default is not None:
            scalar(a.default, inside, "a default")
    arguments = tuple(Argument(a.name, domains[a.name]) for a in line.arguments)
    _nothing_left_open(line, domains, scope)
    x = Argument(line.x.name, domains[line.x.name])
    return Family(line.name, x, (Signature(arguments, body, optional),), sizes, user, line.span)


def _nothing_left_open(line: s.FamilyLine, domains: dict[str, Domain], scope: Scope) -> None:
    """Lengths of a family's own sizes stay apart: `x : real[D]` and `m : real[Q]` may not be added."""
    own = {
        n
        for d in domains.values()
        for x in (*d.dims, *([d.levels] if d.levels else []))
        for n in getattr(x, "names", ())
    }
    for a, b, _ in scope.lengths.equal:
        if {*getattr(a, "names", ()), *getattr(b, "names", ())} & own:
            scope.lengths.equal.clear()
            scope.lengths.named.clear()
            raise Stop(
                Problem(
                    "E030", f"{line.name} needs {a} and {b} to be equal", line.body.span, "use one size name for both"
                )
            )


def _size_names(domain: s.DomainText) -> Iterator[str]:
    for dim in domain.dims or ():
        for node, _ in s.descend(dim):
            if isinstance(node, s.Name):
                yield node.name
