"""The plate diagram that users get: SVG text that a notebook shows as a picture."""

from __future__ import annotations

from emdsl.graph.alike import folded
from emdsl.graph.build import graph
from emdsl.graph.dot import dot
from emdsl.graph.layout import Layout, layout
from emdsl.graph.svg import svg
from emdsl.language.model import ModelText


class Diagram(str):
    """The SVG, as a string; `dot` is the same graph as DOT text."""

    dot: str

    @classmethod
    def of(cls, text: ModelText) -> Diagram:
        return cls.drawn(layout(folded(graph(text))))

    @classmethod
    def drawn(cls, done: Layout) -> Diagram:
        out = cls(svg(done))
        out.dot = dot(done.graph)
        return out

    def _repr_svg_(self) -> str:
        return str(self)

    def __repr__(self) -> str:
        return f"<plate diagram, {len(self)} characters of SVG>"
