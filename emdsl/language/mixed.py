"""Distributions made of branches, as far as their text and families tell: point masses, bounds."""

from __future__ import annotations

from emdsl.language import syntax as s
from emdsl.language.model import Call, Domain, Family, Var
from emdsl.language.scope import Entry, Scope


def is_atom(family: Family) -> bool:
    """A point mass: the log density is `log(x == value)`."""
    match family.signatures[0].log_density:
        case Call("log", (Call("eq", (Var(x), Var(_)), _),), _):
            return x == family.x.name
        case _:
            return False


def leaves(node: s.Node) -> list[s.Node]:
    """What stands in the branches of a distribution's conditionals, in reading order."""
    if isinstance(node, s.Conditional):
        return leaves(node.then) + leaves(node.other)
    return [node]


def unwritten(entry: Entry, scope: Scope) -> list[Family]:
    """The families after `~` of a variable whose domain nobody wrote."""
    item = scope.items[entry.name].statement
    if not isinstance(item, s.Declaration) or item.domain is not None or item.value is None:
        return []
    names = [leaf.name for leaf in leaves(item.value) if isinstance(leaf, s.Apply)]
    return [scope.families[n] for n in names if n in scope.families]


def own_domains(entry: Entry, scope: Scope) -> list[Domain]:
    """The domains of these families with their bounds, which an inferred domain gets only at the end."""
    return [family.x.domain for family in unwritten(entry, scope)]
