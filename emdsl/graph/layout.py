"""Graph -> Layout: rows by dependence, an order by a search for few crossings, places by springs, ways around."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product

from emdsl.graph import names
from emdsl.graph.boxes import STRIP, Box, boxes_of, depths, heights
from emdsl.graph.figures import Figure, figure
from emdsl.graph.parts import Edge, Graph, Node
from emdsl.graph.place import across
from emdsl.graph.ranks import rows
from emdsl.graph.route import way
from emdsl.graph.search import candidates
from emdsl.graph.shapes import Point, Rect, around, crossing, distance, hits

EDGE = 12.0  # around the whole
FLAT, HIGHEST = 0.35, 240.0  # the least slope of a line between two rows, as far as it may drive them apart
SHORT = 14.0  # the least length of an arrow's last leg
BOW = 16.0  # between two lines that lead to and fro, and the straight one
SHARES = (0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8, 0.1, 0.9)  # of a piece of a line, where its label may stand
FURTHER = (0.0, 4.0, 8.0)  # from the line
ASIDE = 3.0  # between a line and its label
LABEL = 0.8  # the size of a label of an edge beside that of a node
CLEAR = 5.0  # between a line and a node that it does not belong to


@dataclass(frozen=True)
class Placed:
    node: Node
    figure: Figure
    at: Point

    @property
    def outline(self) -> Rect:
        return self.figure.shape.at(self.at)

    @property
    def text(self) -> Rect | None:
        return self.figure.text.moved(*self.at) if self.figure.text else None

    @property
    def room(self) -> Rect:
        return self.figure.room.moved(*self.at)


@dataclass(frozen=True)
class Framed:
    """A plate's box, and where its label stands."""

    box: Box
    rect: Rect
    text: Rect


@dataclass(frozen=True)
class Drawn:
    """An edge from rim to rim; a self-arrow has no points, as its figure knows it."""

    edge: Edge
    points: tuple[Point, ...]
    label: names.Line = ()
    text: Rect | None = None


@dataclass(frozen=True)
class Layout:
    graph: Graph
    nodes: tuple[Placed, ...]
    boxes: tuple[Framed, ...]
    edges: tuple[Drawn, ...]
    frame: Rect


def layout(graph: Graph) -> Layout:
    """The best of the candidates that the search brings."""
    row = rows(graph)
    figures = _with_room_for_labels({n.key: figure(n, graph) for n in graph.nodes}, graph, row)
    found = [arranged(graph, figures, order, row) for order in candidates(graph, row)]
    return min(found, key=burden)


def _with_room_for_labels(figures: Mapping[str, Figure], graph: Graph, row: Mapping[str, int]) -> dict[str, Figure]:
    """The nodes with the room that labels of edges take: beside a line that leads down, above one that leads across."""
    out = dict(figures)
    for e in graph.edges:
        if not e.label or e.source == e.target:
            continue
        wide = LABEL * names.width(names.plain(e.label)) + 6
        for key in (e.source, e.target) if row[e.source] == row[e.target] else (e.target,):
            own = out[key]
            across_ = row[e.source] == row[e.target]
            room = Rect(0, -own.shape.tall - BOW, 0, 0) if across_ else Rect(0, 0, wide, 0)
            out[key] = replace(own, room=around([own.room, room]))
    return out


def burden(done: Layout) -> float:
    """What is ugly, added up: lines that cross, bend, run long or through boxes not their own; sheer size."""
    total = 0.0
    lines = [(d, p, q) for d in done.edges for p, q in pairwise(d.points)]
    for n, (d, p, q) in enumerate(lines):
        total += distance(p, q) / 60
        for e, r, s in lines[n + 1 :]:
            if d is not e and crossing(p, q, r, s):
                total += 10
        for b in done.boxes:
            if not {d.edge.source, d.edge.target} & b.box.members and hits(p, q, b.rect):
                total += 4
    total += sum(6 * (len(d.points) - 2) for d in done.edges)
    total += 0.3 * sum(q.at[0] < p.at[0] for p, q in pairwise(done.nodes))
    wide, high = done.frame.right - done.frame.left, done.frame.bottom - done.frame.top
    return total + (wide + high) / 60


def arranged(graph: Graph, figures: Mapping[str, Figure], order: Sequence[str], row: Mapping[str, int]) -> Layout:
    """The picture for one order of the nodes."""
    boxes = boxes_of(graph, order, row)
    figures = {k: v.to_the_left() if _tied_to_the_right(k, v, graph, order, row) else v for k, v in figures.items()}
    x, sides = across(graph, figures, order, row, boxes)
    top, foot = depths(boxes)
    lines, down = heights(figures, row, boxes, top, foot, _steep(graph, row, x))
    nodes = tuple(Placed(n, figures[n.key], (x[n.key], lines[row[n.key]])) for n in graph.nodes)
    where = {p.node.key: p.at for p in nodes}
    straight = [(where[e.source], where[e.target]) for e in graph.edges if e.source != e.target]
    framed = []
    for i, b in enumerate(boxes):
        high = min(p.room.top for p in nodes if p.node.key in b.members)
        rect = Rect(sides[i][0], high - top[i], sides[i][1], lines[b.last] + down[b.last] + foot[i])
        framed.append(Framed(b, rect, _corner(b, rect, boxes, straight)))
    drawn = _edges(graph, nodes, framed)
    frame = around([p.room for p in nodes] + [f.rect for f in framed]
                   + [Rect(*p, *p) for d in drawn for p in d.points] + [d.text for d in drawn if d.text]
                   or [Rect(0, 0, 40, 40)])  # fmt: skip
    return Layout(graph, nodes, tuple(framed), drawn, frame.grown(EDGE))


def _tied_to_the_right(key: str, own: Figure, graph: Graph, order: Sequence[str], row: Mapping[str, int]) -> bool:
    """Whether an edge to a node of the same row would run through its self-arrow."""
    ends = (({e.source, e.target} - {key}) for e in graph.edges if key in (e.source, e.target))
    beside = {k for pair in ends for k in pair if row[k] == row[key]}
    return own.loop is not None and own.text is None and any(order.index(k) > order.index(key) for k in beside)


def _steep(graph: Graph, row: Mapping[str, int], x: Mapping[str, float]) -> list[float]:
    """How far each row should be below the last, so that a wide fan of lines does not lie flat."""
    out = [0.0] * (1 + max(row.values(), default=0))
    for e in graph.edges:
        if row[e.target] == row[e.source] + 1:
            out[row[e.target]] = max(out[row[e.target]], min(FLAT * abs(x[e.target] - x[e.source]), HIGHEST))
    return out


def _corner(box: Box, rect: Rect, boxes: Sequence[Box], straight: Sequence[tuple[Point, Point]]) -> Rect:
    """A label stands in the right corner at the foot; in the left one where a box or lines are in its way."""
    wide = names.width(box.label)
    reaches = any(o.start > box.start and o.members & box.members and not o.members <= box.members for o in boxes)
    reached = any(o.start < box.start and o.members & box.members and not box.members >= o.members for o in boxes)
    corners = [
        Rect(left, rect.bottom - STRIP + 2, left + wide, rect.bottom - 3)
        for left in (rect.right - 8 - wide, rect.left + 8)
    ]
    if reaches != (reached and not reaches):
        return corners[1] if reaches else corners[0]
    return min(corners, key=lambda r: sum(hits(*pq, r.grown(2)) for pq in straight))


def _edges(graph: Graph, nodes: Sequence[Placed], framed: Sequence[Framed]) -> tuple[Drawn, ...]:
    by_key = {p.node.key: p for p in nodes}
    texts = [f.text.grown(2) for f in framed]
    drawn: list[Drawn] = []
    ends = {(e.source, e.target) for e in graph.edges}
    for e in graph.edges:
        if e.source == e.target:
            drawn.append(Drawn(e, ()))
            continue
        s, t = by_key[e.source], by_key[e.target]
        walls = [p.outline.grown(CLEAR) for p in nodes if p not in (s, t)] + texts + _texts(nodes)
        points = way(s.at, t.at, walls)
        points = _bowed(points) if len(points) == 2 and (e.target, e.source) in ends else points
        drawn.append(Drawn(e, _rimmed(s, t, points)))
    walls = [p.outline for p in nodes] + [*texts, *_texts(nodes)]
    out: list[Drawn] = []
    for d in drawn:
        out.append(_labelled(d, drawn, walls, [f.rect for f in framed]) if d.edge.label and d.points else d)
        walls += [out[-1].text.grown(6)] if out[-1].text else []  # no label near another
    return tuple(out)


def _bowed(points: tuple[Point, ...]) -> tuple[Point, ...]:
    """A line to the left of the straight one, beside another that leads back."""
    (ax, ay), (bx, by) = points
    share = BOW / (distance(*points) or 1.0)
    return points[0], ((ax + bx) / 2 + share * (by - ay), (ay + by) / 2 - share * (bx - ax)), points[1]


def _rimmed(s: Placed, t: Placed, points: tuple[Point, ...]) -> tuple[Point, ...]:
    """The way from rim to rim; a last bend that leaves no room for an arrow's head is where the head points to."""
    first, last = s.figure.shape.rim(s.at, points[1]), t.figure.shape.rim(t.at, points[-2])
    between = points[1:-1]
    if between and distance(between[-1], last) < SHORT:
        between = between[:-1]
    return (first, *between, last)


def _texts(nodes: Sequence[Placed]) -> list[Rect]:
    """Labels beside nodes, and the room of self-arrows."""
    out = [p.text.grown(2) for p in nodes if p.text]
    for p in nodes:
        if p.figure.loop_text is not None:
            beside = p.figure.loop_text.moved(*p.at)
            left = beside.left - 2 if p.figure.turned else p.outline.right
            right = p.outline.left if p.figure.turned else beside.right + 2
            out.append(Rect(left, beside.top, right, beside.bottom))
    return out


def _labelled(d: Drawn, drawn: Sequence[Drawn], walls: Sequence[Rect], frames: Sequence[Rect]) -> Drawn:
    """The edge with its label beside the line, where it covers least."""
    line = names.plain(d.edge.label)
    wide, high = names.width(line) * LABEL, 15.0
    lines = [pq for e in drawn for pq in pairwise(e.points)]
    best: tuple[float, Rect] | None = None
    pieces = sorted(pairwise(d.points), key=lambda pq: -distance(*pq))
    back = any((e.edge.target, e.edge.source) == (d.edge.source, d.edge.target) for e in drawn)
    if back and len(d.points) == 3:  # beside another that leads back: at the top of the bow, and outside
        (a, top, b) = d.points
        dx, dy = (b[0] - a[0]) / 2, (b[1] - a[1]) / 2
        pieces = [((top[0] - dx, top[1] - dy), (top[0] + dx, top[1] + dy))]
    for nth, share, side, more in product(range(len(pieces)), SHARES, (1,) if back else (1, -1), FURTHER):
        p, q = pieces[nth]
        length = distance(p, q) or 1.0
        ax, ay = side * (q[1] - p[1]) / length, -side * (q[0] - p[0]) / length
        off = abs(ax) * wide / 2 + abs(ay) * high / 2 + ASIDE + more
        cx, cy = p[0] + share * (q[0] - p[0]) + ax * off, p[1] + share * (q[1] - p[1]) + ay * off
        r = Rect(cx - wide / 2, cy - high / 2, cx + wide / 2, cy + high / 2)
        cost = 10.0 * sum(r.meets(w) for w in walls) + 3.0 * sum(hits(*pq, r) for pq in lines)
        cost += abs(share - 0.5) + 0.15 * more + 0.5 * nth
        cost += 3.0 * sum(r.meets(w) and not w.holds(r) for w in frames)
        if best is None or cost < best[0] - 1e-9:
            best = (cost, r)
    assert best is not None
    return Drawn(d.edge, d.points, line, best[1])
