"""Ways from node to node: straight where nothing stands between, else around it by the shortest way."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from itertools import pairwise

from emdsl.graph.shapes import Point, Rect, distance, hits

BEND = 12.0  # how much longer a way may be to save a bend


def clear(a: Point, b: Point, walls: Sequence[Rect]) -> bool:
    return not any(hits(a, b, w) for w in walls)


def way(a: Point, b: Point, walls: Sequence[Rect]) -> tuple[Point, ...]:
    """The points of a way from `a` to `b` that meets no wall; straight, if there is none.

    Only walls that are found in the way are gone around, so that a picture of a hundred nodes is drawn at once.
    """
    met: list[Rect] = [w for w in walls if hits(a, b, w)]
    if not met:
        return (a, b)
    for _ in range(len(walls)):
        found = _shortest(a, b, met)
        if found is None:
            return (a, b)
        more = [w for w in walls if w not in met and any(hits(p, q, w) for p, q in pairwise(found))]
        if not more:
            return found
        met += more
    return (a, b)


def _shortest(a: Point, b: Point, walls: Sequence[Rect]) -> tuple[Point, ...] | None:
    """Dijkstra 1959 on the corners that see each other."""
    corners = [c for w in walls for c in w.grown(1.0).corners() if not any(_inside(c, v) for v in walls)]
    points = [a, b, *corners]
    best = {0: 0.0}
    before: dict[int, int] = {}
    queue = [(distance(a, b), 0.0, 0)]
    while queue:
        _, cost, i = heappop(queue)
        if i == 1:
            break
        if cost > best[i]:
            continue
        for j, p in enumerate(points):
            if j in (0, i):
                continue
            longer = cost + distance(points[i], p) + (0.0 if j == 1 else BEND)
            if longer < best.get(j, float("inf")) and clear(points[i], p, walls):
                best[j], before[j] = longer, i
                heappush(queue, (longer + distance(p, b), longer, j))
    if 1 not in before:
        return None
    out = [1]
    while out[-1] != 0:
        out.append(before[out[-1]])
    return tuple(points[i] for i in reversed(out))


def _inside(p: Point, r: Rect) -> bool:
    return r.left < p[0] < r.right and r.top < p[1] < r.bottom
