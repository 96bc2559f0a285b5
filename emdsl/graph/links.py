"""Reads -> edges: what leads from one element to the next, through which given, from how far back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from emdsl.graph.parts import Edge, Node
from emdsl.graph.reads import Read, heads, spelt
from emdsl.language import model as m

Axes = Mapping[str, Sequence[str]]


@dataclass
class Link:
    """All the ways in which one node reads another."""

    places: list[str] = field(default_factory=list)  # the indices, where they are not simply the plates' own
    plain: tuple[str, ...] = ()  # the plates' own indices, where these are read too
    axes: set[int] = field(default_factory=set)  # the axes along which it is read elsewhere
    selects: bool = True
    back: bool = True
    gates: list[str] = field(default_factory=list)
    chosen: list[str] = field(default_factory=list)  # the indices that are givens


def edges_of(nodes: Sequence[Node], axes: Axes, told: Mapping[str, Sequence[Read]],
             loops: Mapping[str, Sequence[m.Plate]]) -> list[Edge]:  # fmt: skip
    """The edges of all nodes; links through a given pass its diamond where that says all."""
    by_key = {n.key: n for n in nodes}
    gates = {n.key for n in nodes if n.mark == "gate"}
    links: dict[tuple[str, str], Link] = {}
    for target in by_key:
        own = {p.index: k for p, k in zip(loops.get(target, ()), axes[target], strict=False)}
        for r in told.get(target, ()):
            if r.name in by_key:
                _add(links.setdefault((r.name, target), Link()), r, axes[r.name], own, gates)
    passing = _passing(links)
    out: dict[tuple[str, str], Edge] = {}
    for (source, target), link in links.items():
        for e in _edges(source, target, link, by_key, passing):
            known = out.get((e.source, e.target))
            out[e.source, e.target] = e if known is None or (known.selects and not e.selects) else known
    return list(out.values())


def _add(link: Link, r: Read, axes: Sequence[str], own: Mapping[str, str], gates: set[str]) -> None:
    moved, back = [], False
    for i, (a, axis) in enumerate(zip(r.args, axes, strict=False)):
        match a:
            case m.Loop(name) if own.get(name, axis) == axis:
                continue
            case m.Call("add" | "sub", (m.Loop(), m.Num())):
                back = True
            case m.Loop():
                pass
            case _:
                continue
        moved.append(spelt(a))
        link.axes.add(i)
    label = ", ".join(t for t in moved if t)
    by = [spelt(a) for a in r.args if any(h in gates for h in heads((a,)))]
    link.chosen += [t for t in by if t and t not in link.chosen]
    link.gates += [g for g in r.through if g in gates and g not in link.gates]
    link.selects &= r.selects
    link.back &= back
    if label and label not in link.places:
        link.places.append(label)
    elif not label:
        link.plain = tuple(spelt(a) for a in r.args)


def _passing(links: Mapping[tuple[str, str], Link]) -> set[str]:
    """The givens whose diamond may stand on the way: for each of its targets it chooses from the same sources."""
    sources: dict[str, dict[str, set[str]]] = {}
    for (source, target), link in links.items():
        for g in link.gates:
            sources.setdefault(g, {}).setdefault(target, set()).add(source)
    return {
        g
        for g, by in sources.items()
        if len({frozenset(s) for s in by.values()}) == 1 and not any(t in s for t, s in by.items())
    }


def _edges(source: str, target: str, link: Link, nodes: Mapping[str, Node], passing: set[str]) -> list[Edge]:
    arrow = nodes[target].mark != "factor"
    through = [g for g in link.gates if g in passing]
    if through:
        inward = [Edge(source, g, link.selects, False, False) for g in through]
        return inward + [Edge(g, target, False, False, arrow) for g in through]
    places = [*link.places, *link.chosen]
    own = ", ".join(t for i, t in enumerate(link.plain) if i in link.axes)
    places = [own, *places] if own else places
    label = ", ".join(places)
    if source == target:
        return [Edge(source, target, False, True, arrow, label)]
    return [Edge(source, target, link.selects, link.back, arrow, label)]
