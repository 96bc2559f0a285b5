"""Layout -> SVG: lines and letters only, nothing loaded, every name escaped; the same bytes for the same model."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise

from emdsl.graph import names
from emdsl.graph.figures import DOUBLE, LOOP
from emdsl.graph.layout import Drawn, Framed, Layout, Placed
from emdsl.graph.parts import RINGS
from emdsl.graph.shapes import Point, Rect, Shape, distance

INK, SHADE, FRAME = "#1a1a1a", "#cfcfcf", "#777"
FONTS = "'STIX Two Text', STIXGeneral, 'Times New Roman', Times, 'Liberation Serif', 'Nimbus Roman', serif"
HEAD, BARB = 8.5, 3.2  # an arrow's head: its length, and half its width
ROUND = 10.0  # of bends


def svg(done: Layout) -> str:
    f = done.frame
    wide, high = f.right - f.left, f.bottom - f.top
    title = escape(f"Plate diagram of {_clean(done.graph.name)}")
    box = f"{_n(f.left)} {_n(f.top)} {_n(wide)} {_n(high)}"
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" width="{_n(wide)}" height="{_n(high)}" role="img" '
        f'font-family="{FONTS}" font-size="{_n(names.SIZE)}" fill="none" stroke="{INK}" stroke-width="1.2">'
    )
    rows = [head, f"<title>{title}</title>"]
    rows.append(
        f'<rect x="{_n(f.left)}" y="{_n(f.top)}" width="{_n(wide)}" height="{_n(high)}" fill="white" stroke="none"/>'
    )
    for part in (*map(_frame, done.boxes), *(_line(d, done) for d in done.edges)):
        rows += part
    rows += map(_node, done.nodes)
    rows += [_text(d.label, d.text, 0.8, halo=True) for d in done.edges if d.text]
    return "\n".join([*rows, "</svg>"]) + "\n"


def _n(value: float) -> str:
    """A number with one decimal at most."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def _p(p: Point) -> str:
    return f"{_n(p[0])},{_n(p[1])}"


def _clean(text: str) -> str:
    """Without the characters that XML has no way to write."""
    return "".join(c for c in text if c.isprintable())


def _text(line: names.Line, at: Rect, scale: float = 1.0, halo: bool = False) -> str:
    """One line in the middle of a rectangle."""
    base = (at.top + at.bottom) / 2 + names.SIZE * scale * 0.31
    size = f' font-size="{_n(names.SIZE * scale)}"' if scale != 1 else ""
    around = ' paint-order="stroke" stroke="white" stroke-width="3"' if halo else ' stroke="none"'
    spans, depth = [], 0.0
    for before, s in pairwise((names.Span(""), *line)):
        now = 4.0 if s.low else -6.0 if s.high else 0.0
        shift = "" if now == depth else f' dy="{_n((now - depth) * scale)}"'
        shift += f' dx="{_n(-names.BACK * scale)}"' if names.above(before, s) else ""
        style = ' font-style="italic"' if s.slanted else ""
        small = f' font-size="{_n(names.SMALL * scale)}"' if now else ""
        spans.append(f"<tspan{shift}{style}{small}>{escape(_clean(s.text))}</tspan>")
        depth = now
    where = f'x="{_n((at.left + at.right) / 2)}" y="{_n(base)}"'
    return f'<text {where} text-anchor="middle"{size} fill="{INK}"{around} xml:space="preserve">{"".join(spans)}</text>'


def _frame(b: Framed) -> list[str]:
    r = b.rect
    dashes = ' stroke-dasharray="5 3"' if b.box.plate.part else ""
    return [
        f'<g class="plate"><title>{escape(_plain(b.box.label))}</title>',
        f'<rect x="{_n(r.left)}" y="{_n(r.top)}" width="{_n(r.right - r.left)}" height="{_n(r.bottom - r.top)}" '
        f'rx="9" stroke="{FRAME}"{dashes}/>',
        f"{_text(b.box.label, b.text, 0.88)}</g>",
    ]


def _outline(shape: Shape, at: Point, fill: str, less: float = 0.0) -> str:
    x, y = at
    if shape.diamond:
        corners = [(x, y - shape.tall), (x + shape.half, y), (x, y + shape.tall), (x - shape.half, y)]
        return f'<path d="M{" L".join(map(_p, corners))} Z" fill="{fill}"/>'
    half, tall, radius = shape.half - less, shape.tall - less, max(0.0, shape.radius - less)
    if half == tall == radius:
        return f'<circle cx="{_n(x)}" cy="{_n(y)}" r="{_n(half)}" fill="{fill}"/>'
    return (
        f'<rect x="{_n(x - half)}" y="{_n(y - tall)}" width="{_n(2 * half)}" height="{_n(2 * tall)}" '
        f'rx="{_n(radius)}" fill="{fill}"/>'
    )


def _node(p: Placed) -> str:
    shape, mark = p.figure.shape, p.node.mark
    fill = {"observed": SHADE, "param": INK, "factor": INK}.get(mark, "white")
    name = escape(_clean(p.node.key))
    rows = [f'<g class="node {mark}"><title>{name}</title>', _outline(shape, p.at, fill)]
    if mark == "partly":
        rows[-1] = f"{_half(shape, p.at)}\n{_outline(shape, p.at, 'none')}"
    if mark in RINGS and p.node.fixed:
        rows.append(_outline(shape, p.at, "none", DOUBLE))
    whole = p.text or p.outline
    height = names.LINE * len(p.figure.label)
    top = (whole.top + whole.bottom - height) / 2
    for i, line in enumerate(p.figure.label):
        rows.append(_text(line, Rect(whole.left, top + i * names.LINE, whole.right, top + (i + 1) * names.LINE)))
    return "\n".join([*rows, "</g>"])


def _half(shape: Shape, at: Point) -> str:
    """The ring white, and its lower half shaded."""
    (x, y), r = at, shape.radius
    left, right, low = x - shape.half, x + shape.half, y + shape.tall
    arc = f"A{_n(r)},{_n(r)} 0 0 0"
    path = f"M{_n(left)},{_n(y)} V{_n(low - r)} {arc} {_n(left + r)},{_n(low)} H{_n(right - r)} "
    path += f"{arc} {_n(right)},{_n(low - r)} V{_n(y)} Z"
    return f'{_outline(shape, at, "white")}\n<path d="{path}" fill="{SHADE}" stroke="none"/>'


def _plain(line: names.Line) -> str:
    return _clean("".join(s.text for s in line))


def _line(d: Drawn, done: Layout) -> list[str]:
    """An edge with its head; its title says from where to where."""
    ends = [_clean(k) for k in (d.edge.source, d.edge.target)]
    return [f'<g class="edge"><title>{escape(" → ".join(ends))}</title>', *_strokes(d, done), "</g>"]


def _strokes(d: Drawn, done: Layout) -> list[str]:
    if not d.points:
        return _curl(next(p for p in done.nodes if p.node.key == d.edge.source))
    dashes = ' stroke-dasharray="4 3"' if d.edge.selects else ""
    points = list(d.points)
    tip = points[-1]
    if d.edge.arrow:
        points[-1] = _towards(tip, points[-2], HEAD - 1)
    rows = [f'<path d="{_bent(points)}"{dashes}/>']
    if d.edge.arrow:
        rows.append(_head(tip, points[-2]))
    return rows


def _towards(a: Point, b: Point, by: float) -> Point:
    length = distance(a, b) or 1.0
    by = min(by, length * 0.9)
    return a[0] + (b[0] - a[0]) * by / length, a[1] + (b[1] - a[1]) * by / length


def _head(tip: Point, back: Point) -> str:
    base = _towards(tip, back, HEAD)
    length = distance(tip, back) or 1.0
    ax, ay = (tip[1] - back[1]) / length * BARB, -(tip[0] - back[0]) / length * BARB
    corners = [tip, (base[0] + ax, base[1] + ay), (base[0] - ax, base[1] - ay)]
    return f'<path d="M{" L".join(map(_p, corners))} Z" fill="{INK}" stroke="none"/>'


def _bent(points: Sequence[Point]) -> str:
    """A path with its bends rounded."""
    out = f"M{_p(points[0])}"
    for before, p, after in zip(points, points[1:], points[2:], strict=False):
        room = min(ROUND, distance(before, p) / 2, distance(p, after) / 2)
        out += f" L{_p(_towards(p, before, room))} Q{_p(p)} {_p(_towards(p, after, room))}"
    return out + f" L{_p(points[-1])}"


def _curl(p: Placed) -> list[str]:
    """A self-arrow beside a node, and what it says."""
    shape, figure = p.figure.shape, p.figure
    side, (x, y) = -1 if figure.turned else 1, p.at
    out = x + side * (shape.half + LOOP[0] * 0.78)
    up = min(LOOP[1] * 0.3, shape.tall * 0.7)
    start = (x + side * shape.side(up), y - up)
    end = (start[0], 2 * y - start[1])
    bend = (out, y + LOOP[1] * 0.62)
    stop = _towards(end, bend, HEAD - 1)
    path = f"M{_p(start)} C{_n(out)},{_n(y - LOOP[1] * 0.62)} {_p(bend)} {_p(stop)}"
    rows = [f'<path d="{path}"/>', _head(end, bend)]
    if figure.loop and figure.loop_text:
        rows.append(_text(figure.loop, figure.loop_text.moved(*p.at), 0.8))
    return rows
