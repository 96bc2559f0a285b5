"""Which lines of a module compute something, and whether they carry the number of an equation: off its syntax tree."""

from __future__ import annotations

import ast
import re

from emdsl.report.places import own_lines, places

# Functions that lay out data or find where to start: no equation of the derivation is computed in them.
LAYING_OUT = {
    "default_givens",
    "limits",
    "kept",
    "prepare",
    "initial",
    "start",
    "division",
    "regrouped",
    "settle",
    "finer",
}
# What only makes room, looks something up, changes a layout, or calls another of the module's functions.
PLAIN = {
    "append", "np.array", "np.asarray", "np.concatenate", "np.zeros", "np.errstate", "plates_first", "row_count",
    "dict", "update", "float", "honest", "on", "expectations", "e_step", "settle", "settled", "slice", "DataError",
    "copy", "items", "get", "np.random.default_rng", "side_by_side", "one_by_one",
}  # fmt: skip


def silent_lines(source: str) -> list[str]:
    """Lines that compute and carry no number."""
    numbered = {n for found in places(source).values() for p in found for n in range(p.first, p.last + 1)}
    own, lines = dict(own_lines(source)), source.splitlines()
    functions = [f for f in ast.parse(source).body if isinstance(f, ast.FunctionDef) and f.lineno in own]
    out = []
    for f in functions:
        if f.name not in LAYING_OUT:
            known = PLAIN | {g.name for g in functions}
            bad = {n.lineno for n in ast.walk(f) if _computes(n, known)} - numbered
            out += [f"{f.name} {n}: {lines[n - 1].strip()}" for n in sorted(bad)]
    return out


def _computes(node: ast.AST, known: set[str]) -> bool:
    if isinstance(node, ast.BinOp):
        return True
    if not isinstance(node, ast.Call):
        return False
    name = ast.unparse(node.func.func if isinstance(node.func, ast.Call) else node.func)
    return name not in known and name.rpartition(".")[2] not in known


def numbers_in(source: str) -> set[str]:
    """Numbers that the module's own lines name."""
    return set(places(source))


def targets(html: str) -> tuple[set[str], set[str]]:
    """(the places that links of a page point to, the anchors it has)."""
    return set(re.findall(r'href="#([^"]+)"', html)), set(re.findall(r' id="([^"]+)"', html))
