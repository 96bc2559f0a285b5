"""The runtime's numeric helpers as text: those that a generated module uses, and what they use."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache

from emdsl.runtime.bundle import runtime_source

MODULES = (
    "numeric/numerics",
    "numeric/digits",
    "numeric/updates",
    "numeric/sums",
    "numeric/unconstrained",
    "numeric/quasi",
    "numeric/ascent",
    "numeric/seeds",
    "numeric/starts",
    "numeric/preparation",
    "numeric/threads",
    "numeric/cut_normals",
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
    "fields/leaves",
    "fields/reduction",
    "fields/fronts",
    "fields/repeats",
    "fields/by_leaves",
    "fields/filtered",
    "fields/steady",
    "fields/fields",
    "fields/constrained",
    "fields/apart",
    "fields/gated",
    "fields/gaussian",
    "numeric/tails",
    "meanfield/variational",
    "meanfield/given",
    "meanfield/looked_up",
    "meanfield/turns",
    "meanfield/counted",
    "discrete/configured",
    "fields/incomplete",
    "numeric/intervals",
    "numeric/points",
    "numeric/clouds",
    "numeric/lattice",
    "numeric/counted_points",
    "numeric/pieces",
    "numeric/panels",
    "montecarlo/kernels",
    "montecarlo/sampler",
    "montecarlo/drawing",
    "montecarlo/mixing",
    "montecarlo/flat",
    "montecarlo/carried",
    "montecarlo/slopes",
    "montecarlo/newton",
    "montecarlo/scores",
    "montecarlo/accuracy",
    "montecarlo/montecarlo",
    "montecarlo/saem",
    "montecarlo/drawn",
)
ALWAYS = {"Degenerate"}  # read by the estimator, off the module
NOT_CODE = re.compile(r'"""[\s\S]*?"""|"[^"\n]*"|#[^\n]*')  # of our own printing: it quotes in one way
WORD = re.compile(r"(?<![\w.])[A-Za-z_]\w*")


TOP = re.compile(
    r"^(?:(?P<imports>(?:import|from) )|(?P<decorator>@)|(?:def|class) (?P<made>\w+)|"
    r"(?P<constant>\w+)(?:: [^=\n]+)? = )",
    re.M,
)
AFTER = re.compile(r"(?:\n(?:#.*|[ \t]*))+\Z")  # blank lines, and comments on what follows
IMPORTED = re.compile(r"(\w+)(?: as (\w+))?")


def top_level(text: str) -> Iterator[tuple[re.Match[str], str]]:
    """The statements at the top of a file of our own, each with how it begins, decorators counted to it.

    By how lines begin: to parse all helpers takes longer than to compile a model.
    """
    body = text[text.index('"""', 3) + 3 :]
    found = list(TOP.finditer(body))
    start: int | None = None
    for m, after in zip(found, [*(m.start() for m in found[1:]), len(body)], strict=True):
        start = m.start() if start is None else start
        if m["decorator"]:
            continue
        yield m, AFTER.sub("", body[start:after])
        start = None


@cache
def definitions() -> Mapping[str, str]:
    """Constants, then functions and classes of the helper files, as text."""
    constants: dict[str, str] = {}
    others: dict[str, str] = {}
    for module in MODULES:
        for m, block in top_level(runtime_source(module)):
            if m["made"]:
                others[m["made"]] = block
            elif m["constant"]:
                constants[m["constant"]] = block
    return constants | others


@cache
def _read_by(name: str) -> tuple[str, ...]:
    """The names that a helper reads, in order."""
    return tuple(sorted(set(WORD.findall(NOT_CODE.sub("", definitions()[name])))))


@cache
def _with_read(name: str) -> frozenset[str]:
    """A helper, what it reads, and what these read in turn."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        if (name := waiting.pop()) in definitions() and name not in found:
            found.add(name)
            waiting += _read_by(name)
    return frozenset(found)


@cache
def helper_names() -> frozenset[str]:
    """Everything at the top level of the helper files: names that generated code may not hide."""
    return frozenset(definitions()) | {n for module in MODULES for n in imported(runtime_source(module))}


def imported(text: str) -> Iterator[str]:
    """The names that the imports of a file make."""
    for m, block in top_level(text):
        if m["imports"]:
            names = NOT_CODE.sub("", block).partition("import ")[2]
            yield from (alias or name for name, alias in IMPORTED.findall(names))


def helper_source(text: str) -> list[str]:
    """The helpers that a text reads, and what they read, as they stand in the tested files: one block each."""
    read = ALWAYS.union(WORD.findall(NOT_CODE.sub("", text)))
    wanted = frozenset[str]().union(*(_with_read(name) for name in read if name in definitions()))
    return [text for name, text in definitions().items() if name in wanted]
