"""Rows: every node below what it is written in terms of, and no further from its readers than need be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from emdsl.graph.parts import Graph


def rows(graph: Graph) -> dict[str, int]:
    """The row of each node, from 0 at the top."""
    down = downward(graph)
    above: dict[str, list[str]] = {n.key: [] for n in graph.nodes}
    below: dict[str, list[str]] = {n.key: [] for n in graph.nodes}
    for s, t in down:
        above[t].append(s)
        below[s].append(t)
    row: dict[str, int] = {}
    order = _sorted([n.key for n in graph.nodes], above)
    for key in order:
        row[key] = 1 + max((row[s] for s in above[key]), default=-1)
    for key in reversed(order):  # what has more readers than sources stands by its readers
        if below[key] and len(below[key]) >= len(above[key]):
            row[key] = min(row[t] for t in below[key]) - 1
    _lone(graph, row, above, below)
    first = min(row.values(), default=0)
    return {key: r - first for key, r in row.items()}


def downward(graph: Graph) -> list[tuple[str, str]]:
    """The edges that point down: all but those to later elements, and those that would close a circle."""
    found = [(e.source, e.target) for e in graph.edges if not e.back and e.source != e.target]
    below: dict[str, list[str]] = {}
    for s, t in found:
        below.setdefault(s, []).append(t)
    closing: set[tuple[str, str]] = set()
    done: set[str] = set()
    for n in graph.nodes:
        path: list[tuple[str, Iterator[str]]] = [(n.key, iter(below.get(n.key, ())))] if n.key not in done else []
        open_now = {n.key}
        while path:
            key, rest = path[-1]
            t = next(rest, "")
            if not t:
                done.add(key)
                open_now.discard(key)
                path.pop()
            elif t in open_now:
                closing.add((key, t))
            elif t not in done:
                open_now.add(t)
                path.append((t, iter(below.get(t, ()))))
    return [e for e in found if e not in closing]


def _sorted(keys: Sequence[str], above: Mapping[str, Sequence[str]]) -> list[str]:
    """Sources before what reads them, else in the order of the text (Kahn 1962)."""
    waiting = {k: len(above[k]) for k in keys}
    out: list[str] = []
    while waiting:
        ready = [k for k, n in waiting.items() if n == 0]
        for k in ready:
            del waiting[k]
            out.append(k)
        for k in waiting:
            waiting[k] = sum(s in waiting for s in above[k])
    return out


def _lone(graph: Graph, row: dict[str, int], above: Mapping[str, Sequence[str]],
          below: Mapping[str, Sequence[str]]) -> None:  # fmt: skip
    """What nothing reads and reads nothing stands in the row of its plate's first node."""
    for n in graph.nodes:
        if not above[n.key] and not below[n.key] and n.plates:
            mates = [row[m] for m in graph.members(n.plates[-1]) if m != n.key]
            row[n.key] = min(mates, default=row[n.key])
