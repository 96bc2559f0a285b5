"""Nodes that are alike as one: `b0`, ..., `b39` are `b_i` in a plate of i, and names that no number tells apart a list.

A figure of forty dots in a row shows nothing that one dot does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from emdsl.graph.parts import Edge, Graph, Node, Plate

FEW = 6  # nodes that are alike, and drawn one by one
LETTERS = "ijklmhrsuvabcdefgopqtwxyz"
NUMBERED = re.compile(r"(.*?[^\W\d_])_?(\d+)")

Ends = tuple[str, bool, bool, bool, bool, str]  # what is at the other end of an edge, and the edge without its ends


@dataclass(frozen=True)
class Series:
    """Nodes of one name and one kind, by their numbers."""

    base: str
    nodes: Mapping[int, Node]

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(sorted(self.nodes))

    @property
    def key(self) -> str:
        every = [self.nodes[k].key for k in self.numbers]
        return f"{every[0]}, …, {every[-1]}"


def folded(graph: Graph) -> Graph:
    """The graph with series as plates and other nodes with the same edges as one node."""
    return _lists(_series(graph))


def _series(graph: Graph) -> Graph:
    """Series that have the same edges number by number, each in a plate of its numbers."""
    found: dict[object, dict[int, Node]] = {}
    for n in graph.nodes:
        told = NUMBERED.fullmatch(n.name)
        if told is not None and not n.squared and (n.at or not n.plates):
            found.setdefault((told[1], n.mark, n.at, n.plates, n.fixed), {})[int(told[2])] = n
    names = {n.name for n in graph.nodes}
    every = [Series(_base(own), own) for own in found.values() if len(own) > FEW]
    every = [s for s in every if s.base not in names]
    while (kept := [s for s in every if _edges(s, every, graph) is not None]) != every:
        every = kept
    plates: list[list[Series]] = []
    for s in every:
        whole = {key for key, how in _edges(s, every, graph) or () if how == "all"}
        room = (p for p in plates if p[0].numbers == s.numbers and not any(o.key in whole for o in p))
        there = next(room, None)
        plates += [[s]] if there is None else []
        if there is not None:
            there.append(s)
    taken = names | {i for n in graph.nodes for i in n.at} | {p.size for p in graph.plates}
    letters = [c for c in LETTERS if c not in taken]
    drawn, to, nodes = list(graph.plates), dict[str, str](), {n.key: n for n in graph.nodes}
    for own, letter in zip(plates, letters, strict=False):
        plate = Plate(f"numbers {letter}", letter, _range(own[0].numbers))
        drawn.append(plate)
        for s in own:
            first = s.nodes[s.numbers[0]]
            nodes[first.key] = replace(
                first, key=s.key, name=s.base, at=(letter, *first.at), plates=(plate.key, *first.plates)
            )
            to |= {n.key: s.key for n in s.nodes.values()}
    return _merged(replace(graph, plates=tuple(drawn)), nodes, to)


def _base(own: Mapping[int, Node]) -> str:
    told = NUMBERED.fullmatch(next(iter(own.values())).name)
    assert told is not None
    return told[1]


def _range(numbers: Sequence[int]) -> str:
    first, last = numbers[0], numbers[-1]
    whole = f"{first}, …, {last}"
    return whole if last - first == len(numbers) - 1 else f"{len(numbers)} of {whole}"


def _edges(s: Series, every: Sequence[Series], graph: Graph) -> set[tuple[str, str]] | None:
    """What all members have edges with, and how: `one` node, of another series the `same` number, or `all`.

    None where members differ.
    """
    whose = {n.key: (o, k) for o in every for k, n in o.nodes.items()}
    told: list[set[tuple[Ends, str]]] = []
    for k, n in s.nodes.items():
        met: dict[Ends, set[int]] = {}
        mine: set[tuple[Ends, str]] = set()
        for key, rest in _ends(n.key, graph.edges):
            if key in whose:
                met.setdefault((whose[key][0].key, *rest), set()).add(whose[key][1])
            else:
                mine.add(((key, *rest), "one"))
        for end, numbers in met.items():
            other = next(o for o in every if o.key == end[0])
            if numbers == {k} and other.numbers == s.numbers:
                mine.add((end, "same"))
            elif numbers == {*other.numbers} and other is not s:
                mine.add((end, "all"))
            else:
                return None
        told.append(mine)
    return {(end[0], how) for end, how in told[0]} if all(mine == told[0] for mine in told) else None


def _ends(key: str, edges: Sequence[Edge]) -> Iterator[tuple[str, tuple[bool, bool, bool, bool, str]]]:
    for e in edges:
        if key in (e.source, e.target):
            out = e.source == key
            yield (e.target if out else e.source), (out, e.selects, e.back, e.arrow, e.label)


def _lists(graph: Graph) -> Graph:
    """Nodes with the same edges, of one kind, as one with all their names."""
    alike: dict[object, list[Node]] = {}
    for n in graph.nodes:
        if not n.squared and n.name:
            ends = frozenset(_ends(n.key, graph.edges))
            alike.setdefault((n.mark, n.at, n.plates, n.fixed, ends), []).append(n)
    nodes, to = {n.key: n for n in graph.nodes}, dict[str, str]()
    for own in alike.values():
        if len(own) > FEW:
            key = f"{own[0].key}, …, {own[-1].key}"
            nodes[own[0].key] = replace(own[0], key=key, names=tuple(n.name for n in own))
            to |= {n.key: key for n in own}
    return _merged(graph, nodes, to)


def _merged(graph: Graph, nodes: Mapping[str, Node], to: Mapping[str, str]) -> Graph:
    """The graph with these nodes; those that go `to` one stand where the first of them stood."""
    left = (nodes[n.key] for n in graph.nodes)
    kept = tuple(n for n in left if n.key not in to)
    edges = (replace(e, source=to.get(e.source, e.source), target=to.get(e.target, e.target)) for e in graph.edges)
    return replace(graph, nodes=kept, edges=tuple(dict.fromkeys(edges)))
