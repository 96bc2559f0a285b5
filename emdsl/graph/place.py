"""Where everything stands across: as near to its neighbours as an order of nodes and boxes allows.

Minimises the weighted squares of the distances across edges, under x_b - x_a >= gap for each pair that must keep
apart; by the method of multipliers (Hestenes 1969), coordinate after coordinate. Plain floats in a fixed order: the
same picture everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from emdsl.graph import names
from emdsl.graph.boxes import PAD, Box, overlap, within
from emdsl.graph.figures import Figure
from emdsl.graph.parts import RINGS, Graph

APART = 16.0  # between two nodes of a row
LEGS = 26.0  # of an edge within a row, beside its label
BESIDE = 16.0  # between a box and what stands beside it
STAGGER = 12.0  # between the sides of boxes that overlap
STIFF = 1.0
ROUNDS, SWEEPS = 40, 8
MOVES = 2_000_000  # gaps looked at, beyond which a picture of hundreds of boxes gets fewer rounds


Side = Callable[[int], int]  # the variable of a box's side


@dataclass(frozen=True)
class Problem:
    """Springs (a, b, weight) between variables, and `x[b] - x[a] >= gap`; variables are nodes, then box sides."""

    count: int
    springs: tuple[tuple[int, int, float], ...]
    gaps: tuple[tuple[int, int, float], ...]
    groups: tuple[frozenset[int], ...] = ()  # what is moved as one, too: a box with all that it holds


def across(graph: Graph, figures: Mapping[str, Figure], order: Sequence[str], row: Mapping[str, int],
           boxes: Sequence[Box]) -> tuple[dict[str, float], list[tuple[float, float]]]:  # fmt: skip
    """The x of every node, and of the two sides of every box."""
    number = {k: i for i, k in enumerate(order)}
    n = len(order)

    def left(b: int) -> int:
        return n + 2 * b

    def right(b: int) -> int:
        return n + 2 * b + 1

    gaps: dict[tuple[int, int], float] = {}

    def apart(a: int, b: int, gap: float) -> None:
        gaps[a, b] = max(gap, gaps.get((a, b), gap))

    def leaving(key: str, box: Box) -> bool:
        """Whether a line from the box's last row runs down through its foot, where the label stands."""
        out = [e.target for e in graph.edges if e.source == key]
        return row[key] == box.last and any(t not in box.members and row[t] > box.last for t in out)

    for i, key in enumerate(order):
        later = next((k for k in order[i + 1 :] if row[k] == row[key]), None)
        if later is not None:
            apart(i, number[later], figures[key].room.right - figures[later].room.left + _between(graph, key, later))
    for b, box in enumerate(boxes):
        apart(left(b), right(b), box.width)
        for i, key in enumerate(order):
            room = figures[key].room
            if key in box.members:
                apart(left(b), i, PAD - room.left)
                apart(i, right(b), max(PAD + room.right, box.width if leaving(key, box) else 0.0))
            elif box.first <= row[key] <= box.last:
                if i < box.start:
                    apart(i, left(b), room.right + BESIDE)
                else:
                    apart(right(b), i, BESIDE - room.left)
        for c in range(len(boxes)):
            _boxes_apart(boxes, b, c, left, right, apart)
    apart_by = tuple((a, b, g) for (a, b), g in gaps.items())
    groups = [frozenset({*(number[k] for k in box.members), left(b), right(b)}) for b, box in enumerate(boxes)]
    for b in range(len(boxes)):
        inner = [c for c in range(len(boxes)) if within(boxes, c, b)]
        groups[b] |= {v for c in inner for v in (left(c), right(c))}
    springs = tuple(_springs(graph, number, boxes, left, right))
    solved = solve(Problem(n + 2 * len(boxes), springs, apart_by, tuple(groups)))
    return {k: solved[i] for k, i in number.items()}, [(solved[left(b)], solved[right(b)]) for b in range(len(boxes))]


def _between(graph: Graph, one: str, other: str) -> float:
    """The room between two nodes of a row: an edge from one to the other has its label there."""
    said = [names.width(names.plain(e.label)) for e in graph.edges if e.label and {e.source, e.target} == {one, other}]
    return max(APART, *(0.8 * wide + LEGS for wide in said)) if said else APART


def _boxes_apart(boxes: Sequence[Box], b: int, c: int, left: Side, right: Side,
                 apart: Callable[[int, int, float], None]) -> None:  # fmt: skip
    one, other = boxes[b], boxes[c]
    if b == c:
        return
    if within(boxes, c, b):
        apart(left(b), left(c), PAD)
        apart(right(c), right(b), PAD)
    elif one.start < other.start:
        if overlap(boxes, b, c):
            apart(left(b), left(c), max(STAGGER, one.width))
            apart(right(b), right(c), max(STAGGER, other.width))
        elif not one.members & other.members and one.first <= other.last and other.first <= one.last:
            apart(right(b), left(c), BESIDE)


def _springs(graph: Graph, number: Mapping[str, int], boxes: Sequence[Box], left: Side,
             right: Side) -> Iterator[tuple[int, int, float]]:  # fmt: skip
    """Pulls along edges: strong within a plate, so that it stands straight; weak from parameters."""
    nodes = {n.key: n for n in graph.nodes}
    for e in graph.edges:
        s, t = nodes[e.source], nodes[e.target]
        if s.key != t.key:
            shared = set(s.plates) == set(t.plates) and s.plates
            yield (
                number[s.key],
                number[t.key],
                1.0 if shared else 0.25 if s.plates else 1.0 if s.mark in RINGS else 0.03,
            )
    for b in range(len(boxes)):
        yield left(b), right(b), 0.02


def solve(problem: Problem) -> list[float]:
    """The least sum of squares; what is left of a gap at the end is closed by moving right."""
    springs: list[list[tuple[int, float]]] = [[] for _ in range(problem.count)]
    held: list[list[tuple[int, int, float]]] = [[] for _ in range(problem.count)]
    for a, b, w in problem.springs:
        springs[a].append((b, w))
        springs[b].append((a, w))
    for c, (a, b, _) in enumerate(problem.gaps):
        held[a].append((c, b, -1.0))
        held[b].append((c, a, 1.0))
    x = _closed(problem, [0.0] * problem.count)
    force = [0.0] * len(problem.gaps)
    wholes = (*problem.groups, *(frozenset((i,)) for i in range(problem.count)))
    parts = [  # of each, its variables with what pulls at them from outside
        [(i, [s for s in springs[i] if s[0] not in whole], [h for h in held[i] if h[1] not in whole])
         for i in sorted(whole)]
        for whole in wholes
    ]  # fmt: skip

    for _ in range(max(1, min(ROUNDS, MOVES // (SWEEPS * len(problem.gaps) + 1)))):
        pushed = [gap + f / STIFF for (_, _, gap), f in zip(problem.gaps, force, strict=True)]
        for _ in range(SWEEPS):
            for part in parts:  # each goes to where the pulls from outside it are even
                pull, weight = 0.0, 0.0
                for i, mine, apart in part:
                    at = x[i]
                    pull -= 1e-4 * at
                    weight += 1e-4
                    for j, w in mine:
                        pull += w * (x[j] - at)
                        weight += w
                    for c, j, sign in apart:
                        short = pushed[c] - sign * (at - x[j])
                        if short > 0:
                            pull += STIFF * sign * short
                            weight += STIFF
                by = pull / weight
                for i, _, _ in part:
                    x[i] += by
        for c, (a, b, gap) in enumerate(problem.gaps):
            force[c] = max(0.0, force[c] + STIFF * (gap - (x[b] - x[a])))
    return _closed(problem, x)


def _closed(problem: Problem, x: list[float]) -> list[float]:
    """The least points to the right of `x` that keep every gap."""
    out = list(x)
    moved = True
    while moved:
        moved = False
        for a, b, gap in problem.gaps:
            if out[b] < out[a] + gap - 1e-9:
                out[b] = out[a] + gap
                moved = True
    return out
