"""`ModelText` -> `Graph`: which variables there are, in which plates, and who is written in terms of whom."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import chain

from emdsl.families.table import record
from emdsl.graph.links import edges_of
from emdsl.graph.names import parts
from emdsl.graph.parts import Graph, Mark, Node
from emdsl.graph.plates import Plates, loop_letters, settled
from emdsl.graph.reads import Read, of_distribution, reads
from emdsl.language import model as m
from emdsl.language.columns import columns


def graph(text: m.ModelText) -> Graph:
    """The plate diagram of a model."""
    shared = shared_lets(text)
    inlined = {t.name: t for t in text.lets if t.name not in shared}
    told = written(text, inlined)
    plates = plates_of(text)
    choosers = selecting(text, chain.from_iterable(told.values()))
    seen = {v.data_of for v in text.variables}
    nodes, axes, own = [], {}, columns(text)
    for v in text.variables:
        if v.data_of:
            continue
        keys, axes[v.name] = plates.stand(v.plates, v.array[: len(v.array) + len(v.domain.dims) - own[v.name]])
        at = tuple(plates.found[a].index for a in axes[v.name])
        nodes.append(
            Node(
                v.name,
                v.name,
                mark(v, choosers, seen),
                at if all(at) else (),
                keys,
                is_point(v.distribution),
                is_square(v, text),
            )
        )
    for t in text.lets:
        if t.name in shared:
            keys, axes[t.name] = plates.stand(t.plates)
            nodes.append(Node(t.name, t.name, "let", tuple(p.index for p in t.plates), keys, True))
    for n, f in enumerate(text.potentials):
        keys, axes[f"factor {n + 1}"] = plates.stand(f.plates)
        nodes.append(Node(f"factor {n + 1}", "", "factor", (), keys))
    members: dict[str, set[str]] = {k: {n.key for n in nodes if k in n.plates} for k in plates.found}
    loops = {**{v.name: v.plates for v in text.variables}, **{t.name: t.plates for t in text.lets}}
    drawn, dropped = settled(plates.found, members)
    nodes = [replace(n, plates=tuple(k for k in n.plates if k not in dropped)) for n in nodes]
    edges = edges_of(nodes, axes, told, loops)
    return Graph(text.name, tuple(nodes), tuple(drawn), tuple(edges))


def mark(v: m.Variable, choosers: set[str], seen: set[str]) -> Mark:
    match v.kind:
        case "latent":
            return "partly" if v.name in seen else "latent"
        case "observed":
            return "observed"
        case "param":
            return "param"
        case "given":
            return "gate" if v.name in choosers else "given"


def is_point(d: m.Dist | None) -> bool:
    """Whether a variable is a point mass whatever happens, a function of its parents."""
    match d:
        case m.FamilyCall(family):
            found = record(family)
            return found is not None and found.atom
        case m.Branch(_, then, other):
            return is_point(then) and is_point(other)
    return False


def is_square(v: m.Variable, text: m.ModelText) -> bool:
    """`s2`, `sigma2_b` of a positive number mean a square, unless there is an `s1`, `s3`, ... to count with."""
    found = re.fullmatch(r"([^\W\d_]+)2((?:_[^\W_]+)*)", v.name)
    if found is None or v.domain.kind != "positive" or len(parts(v.name)[1]) == 0:
        return False
    names = {*(o.name for o in text.variables), *(t.name for t in text.lets)}
    return not any(f"{found[1]}{digit}{found[2]}" in names for digit in (0, 1, 3))


def selecting(text: m.ModelText, all_reads: Iterable[Read]) -> set[str]:
    """The givens that choose among others."""
    known = {v.name for v in text.of_kind("given") if v.domain.discrete and not v.domain.dims}
    chosen: set[str] = set()
    for r in all_reads:
        chosen |= {n for n in (*r.through, *((r.name,) if r.selects else ())) if n in known}
    return chosen


def written(text: m.ModelText, inlined: Mapping[str, m.Let]) -> dict[str, list[Read]]:
    """What each node reads, in the order of the text."""
    told: dict[str, list[Read]] = {}
    for v in text.variables:
        if not v.data_of:
            own = reads(v.default, inlined) if v.default is not None else ()
            told[v.name] = [*of_distribution(v.distribution, inlined), *own]
    for t in text.lets:
        if t.name not in inlined:
            told[t.name] = list(reads(t.body, inlined))
    for n, f in enumerate(text.potentials):
        told[f"factor {n + 1}"] = list(reads(f.expression, inlined))
    return told


def plates_of(text: m.ModelText) -> Plates:
    around = (*(v.plates for v in text.variables), *(t.plates for t in text.lets), *(f.plates for f in text.potentials))
    loops = [p for own in around for p in own]
    names = {v.name for v in text.variables} | {t.name for t in text.lets} | {s.name for s in text.sizes}
    names |= {p.index for p in loops}
    return Plates(loop_letters(loops), frozenset(names))


def shared_lets(text: m.ModelText) -> set[str]:
    """The `let`s worth a node: of two variables or more, read by two or more. Others only name a part of a formula."""
    every = {t.name: t for t in text.lets}
    readers: dict[str, set[str]] = {n: set() for n in every}
    told = {**{t.name: list(reads(t.body, {})) for t in text.lets}, **written(text, {})}
    for name, all_reads in told.items():
        for r in all_reads:
            if r.name in readers:
                readers[r.name].add(name)
    return {
        n for n, t in every.items() if len(readers[n]) > 1 and len({r.name for r in reads(t.body, every)}) > 1
    }  # fmt: skip
