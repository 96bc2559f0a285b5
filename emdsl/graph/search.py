"""A few good orders from left to right, by steps that lessen crossings on a grid of order against row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from emdsl.graph.order import Group, leaves, neighbours, tree
from emdsl.graph.parts import Graph

TRIES = 1500  # orders looked at, at most
WORK = 1_000_000  # pairs of lines, and of lines and nodes, looked at in all these orders together
LARGE = 160  # nodes and edges: a picture of more is drawn once, by where neighbours stand
KEPT = 24  # orders that are drawn, of which the best is taken


@dataclass(frozen=True)
class Task:
    """What an order is judged by: edges as pairs, rows, and each plate's members and rows."""

    keys: tuple[str, ...]  # in the order of the text
    edges: tuple[tuple[str, str], ...]
    row: Mapping[str, int]
    plates: tuple[tuple[frozenset[str], int, int], ...]


def candidates(graph: Graph, row: Mapping[str, int]) -> list[tuple[str, ...]]:
    """Orders of all nodes, best first."""
    members = {p.key: frozenset(graph.members(p.key)) for p in graph.plates}
    edges = tuple(dict.fromkeys((e.source, e.target) for e in graph.edges if e.source != e.target))
    spans = tuple((m, min(row[k] for k in m), max(row[k] for k in m)) for m in members.values() if m)
    task = Task(tuple(n.key for n in graph.nodes), edges, row, spans)
    alike = _alike(graph, edges, row)
    starts = _starts(tree([n.key for n in graph.nodes], members), task)
    if len(task.keys) + len(edges) > LARGE:
        return [_told(leaves(starts[1]), alike, task.keys)]
    seen: dict[tuple[str, ...], float] = {}
    tries = min(TRIES, WORK // max(1, len(edges) * (len(edges) // 2 + len(task.keys))))
    for start in starts:
        _descend(start, task, alike, seen, tries)
    best = dict.fromkeys(_told(o, alike, task.keys) for o in sorted(seen, key=lambda o: seen[o]))
    return list(best)[: KEPT if len(edges) < 25 else KEPT // 4]


def _alike(graph: Graph, edges: Sequence[tuple[str, str]], row: Mapping[str, int]) -> dict[str, int]:
    """Nodes that may be swapped without a difference share a number: in the end they stand in the order of the text."""
    kinds: dict[object, int] = {}
    out = {}
    for n in graph.nodes:
        ends = (frozenset(t for s, t in edges if s == n.key), frozenset(s for s, t in edges if t == n.key))
        out[n.key] = kinds.setdefault((n.mark, n.plates, row[n.key], ends), len(kinds))
    return out


def _told(order: Sequence[str], alike: Mapping[str, int], keys: Sequence[str]) -> tuple[str, ...]:
    """The order with nodes that are alike as the text has them."""
    waiting: dict[int, list[str]] = {}
    for k in keys:
        waiting.setdefault(alike[k], []).append(k)
    return tuple(waiting[alike[k]].pop(0) for k in order)


def _starts(whole: Group, task: Task) -> list[Group]:
    """The text's order, and the same with each group's children by where their neighbours stand."""
    return [whole, _settled(_settled(whole, task), task)]


def _settled(whole: Group, task: Task) -> Group:
    place = {k: float(i) for i, k in enumerate(leaves(whole))}
    near: dict[str, list[str]] = {k: [] for k in place}
    for s, t in task.edges:
        near[s].append(t)
        near[t].append(s)

    def middle(keys: Sequence[str]) -> float:
        own = set(keys)
        at = [place[j] for k in keys for j in near[k] if j not in own] or [place[k] for k in keys]
        return sum(at) / len(at)

    def again(g: Group) -> Group:
        children = tuple(again(c) if isinstance(c, Group) else c for c in g.children)
        return Group(tuple(sorted(children, key=lambda c: middle(leaves(c)))) if g.free else children, g.cuts)

    return again(whole)


def _descend(
    start: Group, task: Task, alike: Mapping[str, int], seen: dict[tuple[str, ...], float], tries: int
) -> None:
    """Steps to better neighbours until there is none, or enough was looked at."""
    now, value = start, _judged(leaves(start), task, seen)
    better = True
    while better and len(seen) < tries:
        better = False
        tried = set()
        for option in neighbours(now):
            order = leaves(option)
            pattern = tuple(alike[k] for k in order)
            if pattern in tried or order in seen:
                continue
            tried.add(pattern)
            found = _judged(order, task, seen)
            if found < value - 1e-9:
                now, value, better = option, found, True
            if len(seen) >= tries:
                break


def _judged(order: tuple[str, ...], task: Task, seen: dict[tuple[str, ...], float]) -> float:
    if order not in seen:
        seen[order] = cost(order, task)
    return seen[order]


def cost(order: Sequence[str], task: Task) -> float:
    """Crossings, nodes on lines, boxes run through and lengths, with each node in a column of its own."""
    col = {k: i for i, k in enumerate(order)}
    row = task.row
    total = 0.02 * sum(col[b] < col[a] for a, b in pairwise(task.keys))
    lines = [(col[s], row[s], col[t], row[t]) for s, t in task.edges]
    for n, (a, b, c, d) in enumerate(lines):
        total += 0.12 * abs(a - c)
        for e, f, g, h in lines[n + 1 :]:
            if (a, b) != (e, f) and (c, d) != (g, h) and (c, d) != (e, f) and (a, b) != (g, h):
                total += 3.0 * _cross(a, b, c, d, e, f, g, h)
        total += 2.0 * sum(_on(a, b, c, d, col[k], row[k]) for k in order)
        for members, first, last in task.plates:
            if not ({order[a], order[c]} & members):
                at = [col[k] for k in members]
                total += 1.0 * _through(a, b, c, d, min(at), max(at), first, last)
    return total


def _cross(a: int, b: int, c: int, d: int, e: int, f: int, g: int, h: int) -> bool:
    one = (c - a) * (f - b) - (d - b) * (e - a)
    two = (c - a) * (h - b) - (d - b) * (g - a)
    three = (g - e) * (b - f) - (h - f) * (a - e)
    four = (g - e) * (d - f) - (h - f) * (c - e)
    return one * two < 0 and three * four < 0


def _on(a: int, b: int, c: int, d: int, x: int, y: int) -> bool:
    """Whether a node stands on a line, near enough."""
    if (x, y) in ((a, b), (c, d)):
        return False
    if b == d:
        return y == b and min(a, c) < x < max(a, c)
    if not min(b, d) < y < max(b, d):
        return False
    return abs(a + (c - a) * (y - b) / (d - b) - x) < 0.5


def _through(a: int, b: int, c: int, d: int, left: int, right: int, first: int, last: int) -> bool:
    """Whether a line's middle part lies in a box, at one of the box's rows."""
    for y in range(max(first, min(b, d)), min(last, max(b, d)) + 1):
        x = a + (c - a) * (y - b) / (d - b) if b != d else (a + c) / 2
        if left - 0.5 < x < right + 0.5:
            return True
    return False
