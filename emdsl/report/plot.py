"""The objective by iteration, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 640, 360, 90, 40, 34, 16


def history_svg(history: Sequence[float], title: str) -> str:
    """A line through the finite values of `history`, axes labelled with the extremes."""
    points = [(i, v) for i, v in enumerate(history) if abs(v) < float("inf")]
    low, high = min(v for _, v in points), max(v for _, v in points)
    last = max(1, len(history) - 1)
    span = high - low or 1.0

    def place(i: int, v: float) -> str:
        x = LEFT + i / last * (WIDTH - LEFT - RIGHT)
        return f"{x:.1f},{HEIGHT - BOTTOM - (v - low) / span * (HEIGHT - BOTTOM - TOP):.1f}"

    line = " ".join(place(i, v) for i, v in points)
    floor = HEIGHT - BOTTOM
    labels = [
        (LEFT, 20, "start", title),
        (LEFT - 8, TOP + 4, "end", f"{high:.6g}"),
        (LEFT - 8, floor, "end", f"{low:.6g}"),
        (LEFT, HEIGHT - 14, "start", "0"),
        (WIDTH - RIGHT, HEIGHT - 14, "end", f"{last} iterations"),
    ]
    text = "\n".join(f'<text x="{x}" y="{y}" text-anchor="{a}">{escape(t)}</text>' for x, y, a, t in labels)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="sans-serif" font-size="13">\n<rect width="100%" height="100%" fill="white"/>\n'
        f'<path d="M{LEFT},{TOP} V{floor} H{WIDTH - RIGHT}" fill="none" stroke="#888"/>\n'
        f'<polyline points="{line}" fill="none" stroke="#1f77b4" stroke-width="2"/>\n{text}\n</svg>\n'
    )
