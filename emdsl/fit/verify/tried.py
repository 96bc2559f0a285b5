"""What data try of a model: which branches are taken, which levels are seen, which columns differ.

A mistake shows only where the data pass over it: a branch that no row takes, a level that nothing has, two columns that
are alike. More data are drawn for a certificate as long as they try something new.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import combinations
from typing import Any, assert_never

import numpy as np

from emdsl.errors import DataError, Span
from emdsl.families.evaluate import rows_of
from emdsl.families.scope import Scope
from emdsl.fit.interpret import model_scope, plate_rows, read_names
from emdsl.fit.verify.setting import Drawn, Numbers
from emdsl.language.functions import COMPARISONS
from emdsl.language.model import Branch, Dist, FamilyCall, ModelText
from emdsl.language.transform import expressions_of
from emdsl.language.tree import Call, Each, Expr, If, Loop, Num, SumOver, children, walk

Fact = tuple[Any, ...]
Side = tuple[Span, bool]  # a condition, and how it came out
MOST_COLUMNS, MOST_LEVEL, MOST_STEPS = 6, 3.0, 16


def tried(model: ModelText, drawn: Drawn) -> frozenset[Fact]:
    """The facts of these data: ("branch", its place, taken), ("level", ...), ("columns", ...)."""
    s = drawn.setting
    scope = model_scope(model, {**drawn.data, **drawn.latents, **s.params}, s.sizes, s.lengths)
    return frozenset([*(("branch", *b) for b in _taken(model, scope)), *_seen(model, drawn)])


def never(model: ModelText, met: frozenset[Fact]) -> list[str]:
    """Conditions that were never true, or never false, with the line that each stands in."""
    places = {place for kind, place, _ in (f for f in met if f[0] == "branch")}
    lines = model.source.splitlines()
    out = []
    for place in sorted(places, key=lambda p: (p.line, p.column)):
        for side, word in ((True, "true"), (False, "false")):
            if ("branch", place, side) not in met:
                text = (
                    lines[place.line - 1][place.column - 1 : place.end_column - 1] if place.line <= len(lines) else ""
                )
                out.append(f"`{text}` in line {place.line} is never {word}")
    return out


def _seen(model: ModelText, drawn: Drawn) -> Iterator[Fact]:
    """Levels of discrete data, column by column, and which columns differ."""
    for v in model.variables:
        if v.kind not in ("given", "observed") or not v.domain.discrete or v.name not in drawn.data:
            continue
        table = np.asarray(drawn.data[v.name])
        columns = table.reshape(len(table), -1)[:, :MOST_COLUMNS] if table.ndim > 1 else table.reshape(-1, 1)
        for j, column in enumerate(columns.T):
            yield from (("level", v.name, j, min(float(x), MOST_LEVEL)) for x in set(column.tolist()))
        for j, k in combinations(range(columns.shape[1]), 2):
            if (columns[:, j] != columns[:, k]).any():
                yield ("columns", v.name, j, k)


# ---------------------------------------------------------------- branches


def _taken(model: ModelText, scope: Scope) -> Iterator[Side]:
    """Which conditions on data and parameters hold in some row, and which do not; those on latents hold both ways."""
    known = {n.name for n in model.variables if n.kind != "latent"}

    def sides(cond: Expr, s: Scope) -> Iterator[tuple[bool, Scope]]:
        if not read_names(cond, model) <= known:
            yield from ((True, s), (False, s))
            return
        value = rows_of(cond, s)
        if value.ndim > 1:  # element by element of a vector
            yield from ((side, s) for side in {bool(x) for x in (value != 0).reshape(-1)})
            return
        holds = np.broadcast_to(value != 0, (s.count,))
        for side in (True, False):
            if (holds == side).any():
                yield side, s.take(np.flatnonzero(holds == side))

    def visit(e: Expr, s: Scope) -> Iterator[Side]:
        if not any(isinstance(n, If) or (isinstance(n, SumOver) and n.cond is not None) for n in walk(e)):
            return
        match e:
            case If(cond, then, other):
                for side, inner in sides(cond, s):
                    yield cond.span, side
                    yield from visit(then if side else other, inner)
            case Each() | SumOver():
                inner, _ = s.enter(e.index, e.size)
                if isinstance(e, SumOver) and e.cond is not None:
                    for side, some in sides(e.cond, inner):
                        yield e.cond.span, side
                        if side:
                            yield from visit(e.body, some)
                else:
                    yield from visit(e.body, inner)
            case _:
                for part in children(e):
                    yield from visit(part, s)

    def density(dist: Dist, s: Scope) -> Iterator[Side]:
        match dist:
            case FamilyCall():
                for _, argument in dist.args:
                    yield from visit(argument, s)
            case Branch(cond, then, other):
                for side, inner in sides(cond, s):
                    yield cond.span, side
                    yield from density(then if side else other, inner)
            case _:
                assert_never(dist)

    said = [(partial(density, v.distribution), v.plates) for v in model.variables if v.distribution is not None]
    said += [(partial(visit, p.expression), p.plates) for p in model.potentials]
    said += [(partial(visit, let.body), let.plates) for let in model.lets]
    with np.errstate(all="ignore"):
        for found, plates in said:
            try:
                if (rows := plate_rows(plates, scope)).count:
                    yield from found(rows)
            except (DataError, IndexError, ValueError):  # a let may speak of rows that are not there, and are not asked
                continue


# ---------------------------------------------------------------- data near what conditions compare with


def compared(model: ModelText) -> tuple[Numbers, int]:
    """Per given, the numbers that conditions compare it with; and the largest that a position is compared with."""
    givens = {v.name for v in model.of_kind("given")}
    numbers: dict[str, set[float]] = {}
    last = 0
    for e in (n for whole in _expressions(model) for n in walk(whole)):
        if isinstance(e, Call) and e.fn in COMPARISONS:
            found = {float(n.value) for n in walk(e) if isinstance(n, Num)}
            read = read_names(e, model)
            for name in read & givens:
                numbers.setdefault(name, set()).update(found)
            if not read and any(isinstance(n, Loop) for n in walk(e)):
                last = max(last, *(int(min(n, MOST_STEPS)) for n in found), 0)
    return {n: frozenset(v) for n, v in numbers.items() if v}, last


def _expressions(model: ModelText) -> Iterator[Expr]:
    for v in model.variables:
        yield from expressions_of(v.distribution) if v.distribution is not None else ()
        yield from (p.condition for p in v.plates if p.condition is not None)
    yield from (p.expression for p in model.potentials)
    yield from (let.body for let in model.lets)
