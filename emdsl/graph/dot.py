"""Graph -> DOT text, for those who would rather lay it out themselves: plates are clusters.

DOT's clusters only nest: of plates that overlap, a node stands in the first, and says the others by name.
"""

from __future__ import annotations

from collections.abc import Sequence

from emdsl.graph import names
from emdsl.graph.figures import plate_label
from emdsl.graph.order import crosses
from emdsl.graph.parts import Edge, Graph, Node, Plate

STYLES = {
    "latent": "shape=ellipse",
    "observed": 'shape=ellipse, style=filled, fillcolor="gray81"',
    "partly": 'shape=ellipse, style=striped, fillcolor="white:gray81"',
    "let": "shape=ellipse",
    "param": "shape=plaintext",
    "given": "shape=box",
    "gate": "shape=diamond",
    "factor": 'shape=square, style=filled, fillcolor=black, label="", width=0.12',
}


def dot(graph: Graph) -> str:
    """The graph in the language of graphviz."""
    nested, other = _nested(graph)
    rows = [f"digraph {_quoted(graph.name)} {{", "  node [fontname=Times];"]
    rows += _cluster(graph, nested, other, (), "  ")
    rows += [f"  {_edge(e)}" for e in graph.edges]
    return "\n".join([*rows, "}"]) + "\n"


def _quoted(text: str) -> str:
    kept = "".join(c if c.isprintable() else " " for c in text)
    return '"' + kept.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _spelt(lines: names.Label) -> str:
    """A label as plain text, what is lowered in brackets."""
    text, low = "", False
    for s in (s for line in lines for s in line):
        text += ("[" if s.low and not low else "]" if low and not s.low else "") + s.text
        low = s.low
    return text + ("]" if low else "")


def _nested(graph: Graph) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[Plate, ...]]]:
    """The clusters around each node, and the plates that are none as they overlap an earlier one."""
    members = {p.key: frozenset(graph.members(p.key)) for p in graph.plates}
    kept: list[str] = []
    for p in graph.plates:
        if not any(crosses(members[p.key], members[q]) for q in kept):
            kept.append(p.key)
    order = sorted(kept, key=lambda k: -len(members[k]))
    nested = {n.key: tuple(k for k in order if k in n.plates) for n in graph.nodes}
    other = {n.key: tuple(p for p in graph.plates if p.key in n.plates and p.key not in kept) for n in graph.nodes}
    return nested, other


def _cluster(graph: Graph, nested: dict[str, tuple[str, ...]], other: dict[str, tuple[Plate, ...]],
             path: tuple[str, ...], indent: str) -> list[str]:  # fmt: skip
    rows, inner = [], list[tuple[str, ...]]()
    for n in graph.nodes:
        own = nested[n.key]
        if own == path:
            rows.append(f"{indent}{_node(n, other[n.key])}")
        elif own[: len(path)] == path and own[: len(path) + 1] not in inner:
            inner.append(own[: len(path) + 1])
    for p in inner:
        plate = next(q for q in graph.plates if q.key == p[-1])
        rows.append(f"{indent}subgraph {_quoted('cluster ' + ' / '.join(p))} {{")
        dashed = "rounded,dashed" if plate.part else "rounded"
        rows.append(f'{indent}  label={_quoted(_spelt((plate_label(plate),)))}; labeljust=r; style="{dashed}";')
        rows += [*_cluster(graph, nested, other, p, indent + "  "), f"{indent}}}"]
    return rows


def _node(n: Node, other: Sequence[Plate]) -> str:
    rings = ", peripheries=2" if n.fixed else ""
    said = _spelt(names.said(n)) + "".join(f", {_spelt((plate_label(p),))}" for p in other)
    label = f", label={_quoted(said)}" if n.name else ""
    return f"{_quoted(n.key)} [{STYLES[n.mark]}{rings}{label}];"


def _edge(e: Edge) -> str:
    how = []
    if e.selects:
        how.append("style=dashed")
    if not e.arrow:
        how.append("arrowhead=none")
    if e.back:
        how.append("constraint=false")
    if e.label:
        how.append(f"label={_quoted(_spelt((names.plain(e.label),)))}")
    return f"{_quoted(e.source)} -> {_quoted(e.target)}{' [' + ', '.join(how) + ']' if how else ''};"
