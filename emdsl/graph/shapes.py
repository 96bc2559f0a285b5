"""Plane geometry of what is drawn: rectangles, rings, diamonds, segments."""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot

Point = tuple[float, float]


@dataclass(frozen=True)
class Rect:
    left: float
    top: float
    right: float
    bottom: float

    def grown(self, by: float) -> Rect:
        return Rect(self.left - by, self.top - by, self.right + by, self.bottom + by)

    def moved(self, dx: float, dy: float) -> Rect:
        return Rect(self.left + dx, self.top + dy, self.right + dx, self.bottom + dy)

    def holds(self, other: Rect) -> bool:
        inside = self.left <= other.left and other.right <= self.right
        return inside and self.top <= other.top and other.bottom <= self.bottom

    def meets(self, other: Rect) -> bool:
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom

    def corners(self) -> tuple[Point, Point, Point, Point]:
        return (
            (self.left, self.top),
            (self.right, self.top),
            (self.right, self.bottom),
            (self.left, self.bottom),
        )


def around(rects: list[Rect]) -> Rect:
    """The smallest rectangle that holds all."""
    return Rect(
        min(r.left for r in rects), min(r.top for r in rects), max(r.right for r in rects), max(r.bottom for r in rects)
    )


def mirrored(r: Rect) -> Rect:
    """The same about a centre at 0, left for right."""
    return Rect(-r.right, r.top, -r.left, r.bottom)


@dataclass(frozen=True)
class Shape:
    """A node's outline about its centre: half its width and height, the radius of its corners; or a diamond."""

    half: float
    tall: float
    radius: float = 0.0
    diamond: bool = False

    def at(self, centre: Point) -> Rect:
        x, y = centre
        return Rect(x - self.half, y - self.tall, x + self.half, y + self.tall)

    def holds(self, dx: float, dy: float) -> bool:
        """Whether a point, seen from the centre, lies within."""
        if self.diamond:
            return abs(dx) / self.half + abs(dy) / self.tall <= 1
        ox, oy = abs(dx) - (self.half - self.radius), abs(dy) - (self.tall - self.radius)
        if ox <= 0 or oy <= 0:
            return ox <= self.radius and oy <= self.radius
        return hypot(ox, oy) <= self.radius

    def side(self, dy: float) -> float:
        """How far the shape reaches to the right at a height, by halving."""
        low, high = 0.0, self.half
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if self.holds(middle, dy) else (low, middle)
        return low

    def rim(self, centre: Point, towards: Point) -> Point:
        """Where the segment from the centre to a point outside leaves the shape, by halving."""
        dx, dy = towards[0] - centre[0], towards[1] - centre[1]
        if self.holds(dx, dy):
            return towards
        low, high = 0.0, 1.0
        for _ in range(40):
            middle = (low + high) / 2
            if self.holds(dx * middle, dy * middle):
                low = middle
            else:
                high = middle
        return centre[0] + dx * high, centre[1] + dy * high


def hits(a: Point, b: Point, r: Rect) -> bool:
    """Whether a segment meets a rectangle's inside (Liang and Barsky 1984)."""
    low, high = 0.0, 1.0
    for start, way, least, most in ((a[0], b[0] - a[0], r.left, r.right), (a[1], b[1] - a[1], r.top, r.bottom)):
        if way == 0:
            if not least < start < most:
                return False
            continue
        t0, t1 = (least - start) / way, (most - start) / way
        low, high = max(low, min(t0, t1)), min(high, max(t0, t1))
    return low < high


def crossing(a: Point, b: Point, c: Point, d: Point) -> bool:
    """Whether two segments cross in a point inside both."""

    def side(p: Point, q: Point, r: Point) -> float:
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])

    return side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0


def distance(p: Point, q: Point) -> float:
    return hypot(q[0] - p[0], q[1] - p[1])
