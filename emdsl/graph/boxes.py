"""Plates as boxes: which nodes each holds, over which rows, how deep they nest, and how far rows stand apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emdsl.graph import names
from emdsl.graph.figures import Figure, plate_label
from emdsl.graph.order import runs
from emdsl.graph.parts import Graph, Plate

PAD = 11.0  # between a box and what it holds
STRIP = 21.0  # the foot of a box, where its label stands
BETWEEN = 30.0  # between two rows, for arrows


@dataclass(frozen=True)
class Box:
    """A plate, or a part of one that overlaps too many others, from row `first` to row `last`."""

    plate: Plate
    members: frozenset[str]
    first: int
    last: int
    start: int  # of its members in the order
    label: names.Line

    @property
    def width(self) -> float:
        return names.width(self.label) + 16


def boxes_of(graph: Graph, order: Sequence[str], row: Mapping[str, int]) -> list[Box]:
    """A box for each run of each plate's members, outer ones first."""
    out = []
    for plate in graph.plates:
        for run in runs(order, frozenset(graph.members(plate.key))):
            at = [row[k] for k in run]
            start = order.index(run[0])
            out.append(Box(plate, frozenset(run), min(at), max(at), start, plate_label(plate)))
    return sorted(out, key=lambda b: -len(b.members))


def within(boxes: Sequence[Box], inner: int, outer: int) -> bool:
    """Whether a box is drawn inside another; of two with the same members the later one is."""
    a, b = boxes[inner], boxes[outer]
    return a.members < b.members or (a.members == b.members and inner > outer)


def overlap(boxes: Sequence[Box], i: int, j: int) -> bool:
    a, b = boxes[i].members, boxes[j].members
    return bool(a & b) and not a <= b and not b <= a


def depths(boxes: Sequence[Box]) -> tuple[list[float], list[float]]:
    """How far each box reaches above its first row and below its last: past what it holds and crosses."""
    top, foot = [0.0] * len(boxes), [0.0] * len(boxes)
    for i in reversed(range(len(boxes))):
        below = [j for j in range(i + 1, len(boxes)) if within(boxes, j, i) or overlap(boxes, i, j)]
        top[i] = PAD + max((top[j] for j in below if boxes[j].first <= boxes[i].first), default=0.0)
        foot[i] = STRIP + max((foot[j] for j in below if boxes[j].last >= boxes[i].last), default=0.0)
    return top, foot


def heights(figures: Mapping[str, Figure], row: Mapping[str, int], boxes: Sequence[Box], top: Sequence[float],
            foot: Sequence[float], steep: Sequence[float]) -> tuple[list[float], list[float]]:  # fmt: skip
    """The centre line of each row, at least `steep` below the last, and how far its nodes reach below it."""
    count = 1 + max(row.values(), default=0)
    up, down = [0.0] * count, [0.0] * count
    for key, r in row.items():
        up[r] = max(up[r], -figures[key].room.top)
        down[r] = max(down[r], figures[key].room.bottom)
    lines = [0.0]
    for r in range(1, count):
        ends = max((foot[i] for i, b in enumerate(boxes) if b.last == r - 1), default=0.0)
        starts = max((top[i] for i, b in enumerate(boxes) if b.first == r), default=0.0)
        lines.append(lines[-1] + max(steep[r], down[r - 1] + ends + BETWEEN + starts + up[r]))
    return lines, down
