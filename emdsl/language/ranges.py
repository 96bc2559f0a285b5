"""Indices that leave their axis whatever the data are: lags without a start, steps past the end, large literals."""

from __future__ import annotations

from emdsl.errors import Problem
from emdsl.language.model import Call, Expr, Loop, Num, Ragged
from emdsl.language.scope import IndexUse, Reference, Scope
from emdsl.language.small import Sizes, assignments, reached, shift, simple_constants, value
from emdsl.language.transform import loops_in

_POINTS = 4000  # for one index
_FARTHEST = 1000  # steps back to a latent: each of them is a row that is held
_ALL_POINTS = 150_000  # for all; beyond, indices are checked when data are bound


def range_problems(scope: Scope) -> list[Problem]:
    """One problem for every index that is out of range for every choice of sizes tried, and for every look ahead."""
    out = [p for r in scope.references for p in (_look_ahead(r, scope), _far_back(r, scope)) if p is not None]
    seen = {p.span for p in out}
    left = _ALL_POINTS
    for use in scope.uses:
        if use.arg.span in seen:
            continue
        left -= _cost(use)
        if left < 0:
            break
        seen.add(use.arg.span)
        problem = _out_of_range(use, scope)
        if problem is not None:
            out.append(problem)
    return out


def _look_ahead(reference: Reference, scope: Scope) -> Problem | None:
    """`z[t+1]` of a latent on the plate of `t`: time runs one way. `z[i-1, j+1]` is an earlier row."""
    entry = scope.entries.get(reference.target)
    owner = scope.entries.get(reference.owner)
    if entry is None or entry.kind != "latent" or owner is None or owner.kind == "let":
        return None
    lengths = scope.lengths
    for arg, plate in zip(reference.args, entry.plates, strict=False):
        moved = shift(arg)
        if moved is None or moved[1] < 0:
            return None
        loop, steps = moved
        if steps > 0 and lengths.known(loop.size) == lengths.known(plate.size):
            message = f"`{entry.name}` is looked up ahead of `{loop.name}`: an element depends on earlier ones alone"
            hint = f"turn it round: write how `{entry.name}` at `{loop.name}` depends on it at `{loop.name}-{steps}`"
            return Problem("E051", message, arg.span, hint)
    return None


def _far_back(reference: Reference, scope: Scope) -> Problem | None:
    """`z[t-100000]` of a latent: no recursion holds so many states."""
    entry = scope.entries.get(reference.target)
    if entry is None or entry.kind != "latent":
        return None
    for arg in reference.args:
        moved = shift(arg)
        if moved is not None and moved[1] < -_FARTHEST:
            message = f"`{entry.name}` is looked up more than {_FARTHEST:,} steps back"
            return Problem("E008", message, arg.span, "write the model for longer steps")
    return None


def _out_of_range(use: IndexUse, scope: Scope) -> Problem | None:
    if (
        isinstance(use.arg, Loop)
        and not use.guards
        and scope.lengths.known(use.arg.size) == scope.lengths.known(use.axis)
    ):
        return None
    found = _everywhere(use, scope, (5, 5, 1))
    if found is None and any(isinstance(size, Ragged) for _, size in use.loops):
        found = _everywhere(use, scope, (_small(use),) * 3)
        found = found if found is not None and found[1] < 0 else None  # rows may be short; a lag wants its start in all
    return None if found is None else _problem(use, *found)


def _everywhere(use: IndexUse, scope: Scope, rows: tuple[int, int, int]) -> tuple[dict[str, int], int] | None:
    """A point where the index is out of range, if there is one for all of three choices of sizes; `rows` are lengths
    of ragged plates."""
    found: tuple[dict[str, int], int] | None = None
    base = _small(use)
    for (size, step), ragged in zip(((base, 0), (base, 2), (base + 14, -2)), rows, strict=True):
        found = _witness(use, Sizes(scope.lengths, size, step, ragged), scope)
        if found is None:
            return None
    return found


def _witness(use: IndexUse, sizes: Sizes, scope: Scope) -> tuple[dict[str, int], int] | None:
    """A point that is surely reached, where the index is surely out of range."""
    names = loops_in(use.arg).union(*(loops_in(c) for c, _ in use.guards))
    loops = {n: size for n, size in use.loops if n in names}
    length = sizes(use.axis)
    for point in assignments(loops, sizes, _POINTS):
        index = value(use.arg, point, sizes)
        if index is None:
            return None
        if not 0 <= index < length and reached(use.guards, point, sizes):
            return point, index
    return None


def may_leave(use: IndexUse, scope: Scope) -> bool:
    """Whether an index of loop names leaves its axis somewhere unless conditions on data see to it: `z[t-1]`."""
    sizes = Sizes(scope.lengths, _small(use))
    names = loops_in(use.arg).union(*(loops_in(c) for c, _ in use.guards))
    points = assignments({n: size for n, size in use.loops if n in names}, sizes, _POINTS)
    found = ((value(use.arg, point, sizes), reached(use.guards, point, sizes)) for point in points)
    return any(index is not None and not 0 <= index < sizes(use.axis) and met is not False for index, met in found)


def _small(use: IndexUse) -> int:
    return 7 + min(60, max(simple_constants(e) for e in (use.arg, *(c for c, _ in use.guards))))


def _cost(use: IndexUse) -> int:
    """The number of points that checking this index may take."""
    names = loops_in(use.arg).union(*(loops_in(c) for c, _ in use.guards))
    return int(min(10 ** len(names), _POINTS) * (1 + len(use.guards)))


def _problem(use: IndexUse, point: dict[str, int], index: int) -> Problem:
    where = f"`{use.target}`" if use.target else "what it indexes"
    used = {n: v for n, v in point.items() if n in loops_in(use.arg)}
    at = ", ".join(f"{n} = {v}" for n, v in used.items())
    if index < 0 and used:
        moved = shift(use.arg)
        name = moved[0].name if moved else next(iter(used))
        test = f"{name} == 0" if moved is None or moved[1] == -1 else f"{name} < {-moved[1]}"
        hint = f"give the start its own branch: `... if {test} else ...`"
        return Problem("E052", f"this index is {index} at {at}: nothing says how {where} starts", use.arg.span, hint)
    if index < 0:
        return Problem("E034", f"this index is {index}; indices start at 0 and never wrap", use.arg.span)
    if used:
        name = next(iter(used))
        hint = f"reach it only where it exists: `... if {name} < ... else ...`"
        return Problem("E034", f"this index goes past the end of {where}", use.arg.span, hint)
    return Problem(
        "E034", f"this index is past the end of {where}, of length {_length(use)}", use.arg.span, _from_zero(use.arg)
    )


def _length(use: IndexUse) -> str:
    return str(use.axis)


def _from_zero(e: Expr) -> str | None:
    return "indices start at 0" if isinstance(e, Num | Call) else None
