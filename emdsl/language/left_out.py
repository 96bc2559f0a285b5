"""Entries that a plate's condition leaves out, and that are read all the same: the lag of a series' second row."""

from __future__ import annotations

from collections.abc import Iterator

from emdsl.language import model as m
from emdsl.language.transform import names_in


def read_elsewhere(model: m.ModelText) -> frozenset[str]:
    """Variables of filtered plates of which something reads entries that these may have left out.

    Everything does that reads one otherwise than at the row of its own plates, each under its condition.
    """
    filtered = {v.name: v for v in model.variables if any(p.condition is not None for p in v.plates)}
    out: set[str] = set()
    for plates, e in _expressions(model) if filtered else ():
        out |= _otherwise(e, plates, filtered)
    return frozenset(out)


def deciding(model: m.ModelText) -> frozenset[str]:
    """Variables that say which elements a filtered plate has, in its condition or through lets."""
    lets = {let.name: names_in(let.body) for let in model.lets}
    every = ([p for v in model.variables for p in v.plates], [p for f in model.potentials for p in f.plates])
    read = {n for plates in every for p in plates if p.condition is not None for n in names_in(p.condition)}
    while more := {n for name in read & lets.keys() for n in lets[name]} - read:
        read |= more
    return frozenset(read - lets.keys())


def run_over(model: m.ModelText) -> frozenset[str]:
    """Sizes that an expression runs over by itself: `sum(x[j] for j in N)`, `sum(x)`, within a row or outside of any.

    What it reads are other rows than that which is cut off or weighed.
    """
    out: set[str] = set()
    for _, e in _expressions(model):
        named = {id(node.base) for node in m.walk(e) if isinstance(node, m.Index)}
        for node in m.walk(e):
            if isinstance(node, m.SumOver):
                out.add(str(node.size))
            if id(node) not in named:
                out |= {str(size) for size in node.shape}
    return frozenset(out)


def _expressions(model: m.ModelText) -> Iterator[tuple[tuple[m.Plate, ...], m.Expr]]:
    """Every expression of the declarations, and the plates around it. Conditions see the data as they are."""
    for v in model.variables:
        parts = [v.distribution] if v.distribution is not None else []
        while parts:
            match parts.pop():
                case m.Branch(cond=cond, then=then, other=other):
                    yield v.plates, cond
                    parts += [then, other]
                case m.FamilyCall(args=args):
                    yield from ((v.plates, e) for _, e in args)
    yield from ((a.plates, a.body) for a in model.lets)
    yield from ((p.plates, p.expression) for p in model.potentials)


def _otherwise(e: m.Expr, plates: tuple[m.Plate, ...], filtered: dict[str, m.Variable]) -> set[str]:
    """The variables that an expression under these plates reads elsewhere."""
    out: set[str] = set()
    own: set[int] = set()  # of variables that stand under an index that has been looked at
    for node in m.walk(e):
        match node:
            case m.Index(base=m.Var(name) as base, args=args) if name in filtered:
                own.add(id(base))
                if not _here(args, filtered[name].plates, plates):
                    out.add(name)
            case m.Var(name) if name in filtered and id(node) not in own:
                out.add(name)
    return out


def _here(args: tuple[m.Expr, ...], declared: tuple[m.Plate, ...], around: tuple[m.Plate, ...]) -> bool:
    """Whether indices are the loops of the plates that a variable is declared under, which stand around."""
    loops = [i.name if isinstance(i, m.Loop) else "" for i in args[: len(declared)]]
    return loops == [p.index for p in declared] and all(p in around for p in declared)
