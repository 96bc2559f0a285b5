"""What each node looks like and how much room it takes about its centre, before it has a place."""

from __future__ import annotations

from dataclasses import dataclass, replace

from emdsl.graph import names
from emdsl.graph.parts import RINGS, Graph, Node, Plate
from emdsl.graph.shapes import Rect, Shape, around, mirrored

RING = 19.0  # the radius of a ring
WIDEST = 23.0  # the radius of the largest
MARGIN = 11.0  # between a long name and the end of its ring
DOUBLE = 3.5  # between the two lines of a double ring
MARKS = {"param": Shape(3.6, 3.6, 3.6), "given": Shape(4.2, 4.2), "gate": Shape(7.5, 7.5, diamond=True),
         "factor": Shape(5.0, 5.0)}  # fmt: skip
LOOP = (46.0, 30.0)  # the width and height of a self-arrow beside its ring


@dataclass(frozen=True)
class Figure:
    """A node's outline, its label and where that stands (relative to the centre), and all the room it takes."""

    shape: Shape
    label: names.Label
    text: Rect | None  # None for no label, and for one within a ring
    room: Rect
    loop: names.Line | None = None  # what a self-arrow says
    loop_text: Rect | None = None
    turned: bool = False  # the self-arrow on the left

    def to_the_left(self) -> Figure:
        """The same with its self-arrow on the other side."""
        text = mirrored(self.loop_text) if self.loop_text else None
        return replace(self, room=mirrored(self.room), loop_text=text, turned=True)


def figure(node: Node, graph: Graph) -> Figure:
    """The figure of a node."""
    said = names.said(node)
    own = [e for e in graph.edges if e.source == node.key == e.target]
    loop = names.plain(own[0].label) if own else None
    if node.mark in RINGS:
        wide, high = names.extent(said)
        tall = max(RING, high / 2 + 7)
        extra = DOUBLE if node.fixed else 0.0
        if len(said) == 1 and wide / 2 + 5 <= WIDEST:  # a circle
            half = tall = max(RING, wide / 2 + 5)
        else:
            half = max(tall, wide / 2 + MARGIN)
        shape = Shape(half + extra, tall + extra, min(tall, WIDEST) + extra)
        text = None
    else:
        shape = MARKS[node.mark]
        text = _beside(node, graph, shape, said, bool(own)) if said else None
    own_room = shape.at((0, 0))
    loop_text = None
    rects = [own_room, *([text] if text else [])]
    if loop is not None:
        out = own_room.right + LOOP[0] * 0.62
        loop_text = Rect(out, -names.LINE / 2, out + names.width(loop) + 2, names.LINE / 2)
        rects += [Rect(0, -LOOP[1] / 2, out, LOOP[1] / 2), loop_text]
    return Figure(shape, said, text, around(rects), loop, loop_text)


def _beside(node: Node, graph: Graph, shape: Shape, said: names.Label, looped: bool) -> Rect:
    """Above a mark that nothing leads to; else to its left, where there is a self-arrow, or its right."""
    wide, high = names.extent(said)
    entered = any(e.target == node.key and e.source != node.key for e in graph.edges)
    if not entered and not looped:
        return Rect(-wide / 2, -shape.tall - 3 - high, wide / 2, -shape.tall - 3)
    if looped:
        return Rect(-shape.half - 5 - wide, -high / 2, -shape.half - 5, high / 2)
    return Rect(shape.half + 5, -high / 2, shape.half + 5 + wide, high / 2)


def plate_label(plate: Plate) -> names.Line:
    """`n ∈ N`, `t ∈ T` with its `s` lowered, `j ∈ N, j < i`; of a part of a plate only the condition."""
    if plate.part:
        return names.plain(plate.condition)
    size = (*names.plain(plate.size), *names.lowered(plate.by.split(",") if plate.by else ()))
    index = (*names.plain(plate.index), names.Span(" ∈ ")) if plate.index else ()
    condition = (names.Span(", "), *names.plain(plate.condition)) if plate.condition else ()
    return (*index, *size, *condition)
