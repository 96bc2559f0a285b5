"""The runtime's numeric helpers as text: those that a generated module uses, and what they use."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from functools import cache

from emdsl.runtime.bundle import runtime_source

MODULES = (
    "numeric/numerics",
    "numeric/updates",
    "numeric/unconstrained",
    "numeric/ascent",
    "numeric/starts",
    "numeric/preparation",
    "numeric/posteriors",
    "discrete/lanes",
    "discrete/edges",
    "discrete/recursion",
    "discrete/logchains",
    "discrete/chains",
    "discrete/paths",
    "discrete/buckets",
    "discrete/networks",
    "numeric/compiled",
    "numeric/loops",
    "fields/kinds",
    "fields/elements",
    "fields/repeats",
    "fields/filtered",
    "fields/steady",
    "fields/fields",
    "fields/constrained",
    "fields/apart",
    "fields/gated",
    "fields/gaussian",
    "numeric/tails",
    "meanfield/variational",
    "meanfield/looked_up",
    "meanfield/counted",
    "discrete/configured",
    "fields/incomplete",
    "numeric/intervals",
    "numeric/clouds",
    "numeric/counted_points",
    "montecarlo/kernels",
    "montecarlo/sampler",
    "montecarlo/drawing",
    "montecarlo/mixing",
    "montecarlo/flat",
    "montecarlo/carried",
    "montecarlo/slopes",
    "montecarlo/scores",
    "montecarlo/accuracy",
    "montecarlo/montecarlo",
    "montecarlo/saem",
    "montecarlo/drawn",
)
ALWAYS = {"Degenerate"}  # read by the estimator, off the module
NOT_CODE = re.compile(r'"""[\s\S]*?"""|"[^"\n]*"|#[^\n]*')  # of our own printing: it quotes in one way
WORD = re.compile(r"(?<![\w.])[A-Za-z_]\w*")


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(runtime_source(module))


@cache
def definitions() -> Mapping[str, tuple[str, frozenset[str]]]:
    """Constants, then functions and classes of the helper files: name -> (text, names it reads)."""
    constants: dict[str, tuple[str, frozenset[str]]] = {}
    others: dict[str, tuple[str, frozenset[str]]] = {}
    for module in MODULES:
        text = runtime_source(module)
        lines = text.splitlines()
        for node in _tree(module).body:
            match node:
                case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                    kept = others
                case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                    kept = constants
                case _:
                    continue
            start = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
            block = "\n".join(lines[start - 1 : node.end_lineno])
            kept[name] = (block, frozenset(WORD.findall(NOT_CODE.sub("", block))))
    return constants | others


@cache
def helper_names() -> frozenset[str]:
    """Everything at the top level of the helper files: names that generated code may not hide."""
    imported = {
        alias.asname or alias.name
        for module in MODULES
        for node in _tree(module).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    return frozenset(definitions()) | imported


def helper_source(text: str) -> list[str]:
    """The helpers that a text reads, and what they read, as they stand in the tested files: one block each."""
    available = definitions()
    wanted: dict[str, None] = {}

    def want(name: str) -> None:
        if name in available and name not in wanted:
            wanted[name] = None
            for other in sorted(available[name][1]):
                want(other)

    for name in sorted(set(WORD.findall(NOT_CODE.sub("", text))) | ALWAYS):
        want(name)
    return [text for name, (text, _) in available.items() if name in wanted]
