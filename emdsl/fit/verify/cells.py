"""Latents as cells, one for each number of their arrays, and which rows of the log joint each of them enters.

The log joint is a sum over rows, one for each element of a declaration. What a row reads is found by
trying: a cell is changed, and the rows that change are those that read it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from emdsl.families.density import limits
from emdsl.families.evaluate import rows_of
from emdsl.families.scope import Array, Scope, length
from emdsl.fit.branches import has_atom, is_density, leaves
from emdsl.fit.interpret import arguments, chunks, element, plate_rows, read_names
from emdsl.fit.verify.corners import apart
from emdsl.fit.verify.held import completed
from emdsl.fit.verify.sticks import Stick, probabilities
from emdsl.fit.verify.world import Unchecked, World
from emdsl.language.functions import COMPARISONS
from emdsl.language.model import Branch, Dist, FamilyCall, ModelText, Variable
from emdsl.language.tree import Call, If, walk

MOST_COUNT = 60  # a count without a bound is summed so far
HALVINGS = 54
NEAR_ONE = 1024.0  # times smaller or larger than 1: a step of 1 takes six digits at most
MOST_TRIED = 8  # levels of one cell, to see who reads it


@dataclass(frozen=True)
class Cell:
    """One number of a latent: `levels` where it is discrete, else the ends of its domain; values that have mass.

    Of probabilities it is the log odds of a stick.
    """

    latent: str
    at: int
    levels: int | None
    ends: tuple[float, float]
    atoms: tuple[float, ...] = ()
    stick: Stick | None = None

    @property
    def on_the_line(self) -> bool:
        """Whether it is any number, and may be Gaussian."""
        return self.levels is None and bool(np.isinf(self.ends).all()) and not self.atoms and self.stick is None


def cells_of(world: World, only: Variable | None = None) -> list[Cell]:
    """Every number of every latent (or of `only` one) that the plates' conditions keep. Raises Unchecked."""
    if only is not None:
        return _cells(only, world)
    hidden = [v for v in world.model.variables if v.kind == "latent" or v.name in world.missing]
    return [c for v in hidden for c in _cells(v, world)]


def _cells(v: Variable, world: World) -> list[Cell]:
    if v.domain.structured and not world.broken(v.name):
        raise Unchecked(f"{v.name} lies on {v.domain.kind}, which no grid of numbers covers")
    held = world.held.get(v.name)
    if held is not None:
        return [Cell(v.name, int(i), None, (-np.inf, np.inf)) for i in held.at[held.free]]
    spiked = v.distribution is not None and has_atom(v.distribution) and any(map(is_density, leaves(v.distribution)))
    array = world.latents[v.name]
    numbered = np.arange(array.size).reshape(array.shape)
    gone = world.missing[v.name].reshape(-1) if v.name in world.missing else None
    out = []
    for part in chunks(plate_rows(v.plates, replace(world.scope, values={**world.scope.values, **world.latents}))):
        at = element(v, numbered, part).reshape(part.count, -1)
        if world.broken(v.name):
            there, k = at if gone is None else at[gone[at].all(axis=1)], at.shape[1]
            if gone is not None and len(there) < gone[at].any(axis=1).sum():
                raise Unchecked(f"some of the probabilities {v.name} are missing beside others, which no stick is")
            line = (-np.inf, np.inf)
            out += [Cell(v.name, int(row[i]), None, line, (), Stick(k - 2 - i)) for row in there for i in range(k - 1)]
            continue
        low, high = (np.broadcast_to(e, (part.count,)) for e in limits_by_row(v, part))
        points = _points(v, world, part) if spiked else np.zeros((part.count, 0))
        for k in range(part.count):
            ends, atoms = (
                (float(low[k]), float(high[k])),
                tuple(sorted({float(p) for p in points[k][~np.isnan(points[k])]})),
            )
            levels = None
            if v.domain.discrete:
                levels = MOST_COUNT if np.isinf(ends[1]) else int(ends[1]) + 1
            out += [Cell(v.name, int(i), levels, ends, atoms) for i in at[k] if gone is None or gone[i]]
    return out


def _points(v: Variable, world: World, part: Scope) -> Array:
    """(rows, points): the values that have mass in some branch, NaN where data lead to another. Raises Unchecked where
    what is unknown moves them."""
    assert v.distribution is not None
    known = [(call, there) for call, there in _reached(v.distribution, world, part) if not is_density(call)]
    read = {n for call, _ in known for _, e in call.args for n in read_names(e, world.model)}
    moved = [u.name for u in world.model.variables if u.name in read and u.kind in ("param", "latent")]
    if moved or v.domain.dims:
        moves = " and ".join([*moved, *["its vector"] * bool(v.domain.dims)])
        raise Unchecked(f"{v.name} is a point in some branches, which {moves} moves")
    found = [np.where(there, np.asarray(arguments(c, part)[c.args[0][0]][0], float), np.nan) for c, there in known]
    return np.stack(found, 1)


def _reached(dist: Dist, world: World, part: Scope) -> list[tuple[FamilyCall, Array]]:
    """The families of a distribution, each with the rows that data do not lead elsewhere."""
    if isinstance(dist, FamilyCall):
        return [(dist, np.ones(part.count, bool))]
    unknown = {u.name for u in world.model.variables if u.kind in ("param", "latent") or u.name in world.missing}
    taken = np.ones(part.count, bool)
    other = taken
    if not read_names(dist.cond, world.model) & unknown:
        taken = np.broadcast_to(np.asarray(rows_of(dist.cond, part)).reshape(-1) != 0, (part.count,))
        other = ~taken
    branches = ((dist.then, taken), (dist.other, other))
    return [(call, there & mine) for way, mine in branches for call, there in _reached(way, world, part)]


def limits_by_row(v: Variable, part: Scope) -> tuple[Array, Array]:
    """The ends of the domain for each row; the lengths of a ragged plate differ from row to row."""
    if v.domain.levels is not None:
        return np.zeros(1), np.asarray(length(v.domain.levels, part)) - 1
    return limits(v.domain, part)


def within_support(world: World, params: Mapping[str, Array], cells: Sequence[Cell]) -> list[Cell]:
    """Numbers on the line with the ends that the density has, where one that reads them is 0 beyond some value.

    An end is looked for from the value drawn, the others held, by halving: it must not depend on the others. Both
    ends of a number that was seen (`y ~ Delta(min(u, c))` below c) are that number: it stays as it was drawn.
    """
    values = own_values(world, cells)

    def there(moves: Sequence[Mapping[int, float]]) -> list[bool]:
        """Whether the density is above 0 where some cells are moved, for many such moves side by side."""
        if not moves:
            return []
        points = all_placed(world, cells, [_with(values, m) for m in moves])
        try:
            found = world.parts_at(world.declarations(), params, points)
        except np.linalg.LinAlgError:  # a matrix of it is no covariance there
            return [there([m])[0] for m in moves] if len(moves) > 1 else [False]
        return [bool(v) for v in np.isfinite(np.concatenate(found, axis=1)).all(axis=1)]

    def all_there(pairs: Sequence[tuple[int, float]], at: Sequence[float]) -> list[bool]:
        return there([{k: value} for (k, _), value in zip(pairs, at, strict=True)])

    out = list(cells)

    def farthest(k: int, sign: float) -> float:
        end: float = cells[k].ends[int(sign > 0)]
        away: float = values[k] + sign * 100 * (1 + abs(values[k])) if np.isinf(end) else end - 1e-6 * (end - values[k])
        return away

    numbers = [k for k, c in enumerate(cells) if c.levels is None and not c.atoms and c.stick is None]
    loose = [k for k in numbers if np.isinf(cells[k].ends).any()]
    far = {(k, sign): farthest(k, sign) if sign else values[k] for k in loose for sign in (-1.0, 0.0, 1.0)}
    inside = dict(zip(far, all_there(list(far), list(far.values())), strict=True))
    sides = [(k, sign) for k in loose if inside[k, 0.0] for sign in (-1.0, 1.0)]
    ends = {(k, sign): float(cells[k].ends[int(sign > 0)]) for k, sign in sides}
    ends |= _halved({pair: (values[pair[0]], far[pair]) for pair in sides if not inside[pair]}, all_there)
    for k in (k for k in loose if inside[k, 0.0]):
        out[k] = replace(cells[k], ends=(ends[k, -1.0], ends[k, 1.0]))
    states = _states_of_branches(world, cells)
    for k in loose:
        if _moved_by_states(
            there, values, k, out[k].ends, [(d, s) for d, c in enumerate(cells) for n, s in states if c.latent == n]
        ):
            raise Unchecked(f"where the density of {cells[k].latent} ends depends on others")
    ends_of = {k: (out[k].ends, cells[k].ends) for k in loose if _long(out[k].ends)}
    if _has_conditions(world.model) and not apart(there, values, ends_of):
        raise Unchecked("where the density of one latent ends depends on another")
    return [c for c in out if c.levels is not None or c.atoms or _long(c.ends)]


def _halved(
    between: Mapping[tuple[int, float], tuple[float, float]],
    all_there: Callable[[Sequence[tuple[int, float]], Sequence[float]], list[bool]],
) -> dict[tuple[int, float], float]:
    """Where densities end, each between a value inside and one outside, all of them by halving at once."""
    pairs = list(between)
    near, far = (np.array([between[p][n] for p in pairs], float) for n in (0, 1))
    size = 1 + np.abs(near)
    for _ in range(HALVINGS):  # from a hundred times the size to the last digit
        middle = (near + far) / 2
        inside = np.array(all_there(pairs, list(middle)), bool)
        near, far = np.where(inside, middle, near), np.where(inside, far, middle)
    return {p: 0.0 if abs(v) < 1e-13 * s else float(v) for p, v, s in zip(pairs, near, size, strict=True)}


def _with(values: Array, moved: Mapping[int, float]) -> Array:
    out = values.copy()
    out[list(moved)] = list(moved.values())
    return out


def _moved_by_states(
    there: Callable[[Sequence[Mapping[int, float]]], list[bool]], values: Array, k: int, ends: tuple[float, float],
    states: Sequence[tuple[int, int]],
) -> bool:  # fmt: skip
    """Whether the ends of a number are others in some state of a discrete latent."""
    size = 1 + abs(values[k])
    within = [e - sign * 1e-6 * size if np.isfinite(e) else values[k] + sign * 100 * size
              for e, sign in zip(ends, (-1, 1), strict=True)]  # fmt: skip
    beyond = [e + sign * 1e-6 * size for e, sign in zip(ends, (-1, 1), strict=True) if np.isfinite(e)]
    near = np.clip(values[k] + np.linspace(-2, 2, 9) * size, *within)  # a hole is another end
    inside = [*within, *near]
    others = [dict[int, float](), *({other: float(state)} for other, state in states)]
    found = there([{k: v, **other} for other in others for v in (*inside, *beyond)])
    table = np.array(found, bool).reshape(len(others), len(inside) + len(beyond))
    alike = (table[:, : len(inside)] == table[:, :1]).all()
    return bool(not alike or table[:, len(inside) :].any())


def _long(ends: tuple[float, float]) -> bool:
    """Whether there is more than rounding between two ends."""
    low, high = ends
    return not np.isfinite(ends).all() or high - low > 1e-12 * (1 + abs(low))


def placed(world: World, cells: Sequence[Cell], values: Array) -> dict[str, Array]:
    """The latents' arrays with these values in the cells."""
    return {n: a[0] for n, a in all_placed(world, cells, [values]).items()}


def all_placed(world: World, cells: Sequence[Cell], points: Sequence[Array]) -> dict[str, Array]:
    """The latents' arrays at each of several points, a value for each cell: their first axis runs over the points."""
    values, places = np.array(points), dict[str, list[tuple[int, int]]]()
    for k, c in enumerate(cells):
        places.setdefault(c.latent, []).append((c.at, k))
    out = {n: np.repeat(np.asarray(a)[None], len(values), axis=0) for n, a in world.latents.items()}
    for name, mine in places.items():
        at, k = np.array(mine).T
        numbers = world.numbers(name, out[name])
        numbers.reshape(len(values), -1)[:, at] = values[:, k]
        out[name] = probabilities(numbers) if world.broken(name) else numbers
    if not world.held:
        return out
    each = [completed(world.held, {n: a[p] for n, a in out.items()}) for p in range(len(values))]
    return {n: np.stack([here[n] for here in each]) for n in out}


def units(world: World, cells: Sequence[Cell]) -> Array:
    """How long a step is in each cell: 1, or a power of 2 where the numbers of its latent are far larger or smaller.

    Far beyond the size of a step a density is level but for rounding.
    """
    found = {}
    for name in {c.latent for c in cells}:
        value = np.asarray(world.latents[name], float)
        size = float(np.std(value)) if value.size > 1 else float(np.abs(value).max(initial=0.0))
        found[name] = 1.0 if not size or 1 / NEAR_ONE < size < NEAR_ONE else 2.0 ** np.round(np.log2(size))
    return np.array([found[c.latent] for c in cells], float)


def drawn_values(world: World, cells: Sequence[Cell], rng: np.random.Generator) -> Array:
    """Values of all cells at random: levels alike, numbers near those drawn and inside their domains."""
    out, drawn, unit = np.empty(len(cells)), own_values(world, cells), units(world, cells)
    for k, c in enumerate(cells):
        low, high = c.ends
        if c.levels is not None:
            out[k] = rng.integers(0, min(c.levels, 4))
        elif c.stick is not None:
            out[k] = 2 * rng.normal()  # as drawn, one may be all there is: nothing would change beside it
        elif c.atoms and rng.random() < 0.5:
            out[k] = rng.choice(c.atoms)
        elif np.isfinite(low) and np.isfinite(high):
            out[k] = low + (high - low) * rng.uniform(0.1, 0.9)
        elif np.isfinite(low):
            out[k] = low + np.exp(rng.normal(0, 0.7))
        else:
            out[k] = drawn[k] + unit[k] * rng.normal()
    return out


def own_values(world: World, cells: Sequence[Cell]) -> Array:
    """Values of all cells as they were drawn."""
    drawn = {n: world.numbers(n, world.latents[n]).reshape(-1) for n in {c.latent for c in cells}}
    return np.array([drawn[c.latent][c.at] for c in cells], float)


def _beside(value: float, levels: int) -> list[int]:
    """The levels next to one."""
    return [v for v in (int(value) - 1, int(value) + 1) if 0 <= v < levels]


def reads(
    world: World, params: Mapping[str, Array], cells: Sequence[Cell], rng: np.random.Generator, trials: int
) -> Array:
    """(rows, cells): whether a row changed when the cell did, in one of the trials at random values of the others.

    Where conditions stand, each discrete latent is once in each of its states everywhere, too: what another branch
    alone reads, or only where all others of a row are 1, would be seen by luck.
    """
    every = world.declarations()
    readers = {name: [n for n, d in enumerate(every) if name in world.reads(d)] for name in {c.latent for c in cells}}
    found: list[Array] = []
    as_drawn = own_values(world, cells)
    by_state = _has_conditions(world.model) or any(c.stick for c in cells)  # a state looks one probability up
    alike = _states(cells) if by_state else []
    for trial, (name, state) in enumerate([*[("", 0)] * (trials + 1), *alike]):
        # at random, a row of which few states are possible may be impossible whatever one cell is: as drawn it is not
        base = as_drawn.copy() if trial == trials else drawn_values(world, cells, rng)
        base[[c.latent == name for c in cells]] = state
        before = world.parts(every, params, placed(world, cells, base))
        found = found or [np.zeros((len(rows), len(cells)), bool) for rows in before]
        asked: dict[tuple[int, ...], list[tuple[int, Array]]] = {}  # by the declarations that may change
        for k, c in enumerate(cells):
            others = [drawn_values(world, [c], rng)[0], *c.atoms]
            if c.levels is not None:
                others = list({*range(min(c.levels, MOST_TRIED)), *_beside(as_drawn[k], c.levels)})
            mine = range(len(every)) if world.held else readers[c.latent]  # others may follow from it
            moved = [(k, np.where(np.arange(len(cells)) == k, v, base)) for v in others if v != base[k]]
            if moved:  # not where a cell has one value alone
                asked.setdefault(tuple(mine), []).extend(moved)
        for some, changes in asked.items():
            there = all_placed(world, cells, [point for _, point in changes])
            for n, after in zip(some, world.parts_at([every[n] for n in some], params, there), strict=True):
                for (k, _), rows in zip(changes, after, strict=True):
                    found[n][:, k] |= ~_alike(before[n], rows)
    return np.concatenate([np.zeros((0, len(cells)), bool), *found])


def _states_of_branches(world: World, cells: Sequence[Cell]) -> list[tuple[str, int]]:
    """Every state of each discrete latent, where some density is one of several by a condition, or data are missing."""
    several = bool(world.missing) or any(isinstance(v.distribution, Branch) for v in world.model.variables)
    return _states(cells) if several else []


def _has_conditions(model: ModelText) -> bool:
    """Whether anything that the model says is one of several by a condition, or compares values."""
    calls = [v.distribution for v in model.variables if isinstance(v.distribution, FamilyCall)]
    if len(calls) < sum(v.distribution is not None for v in model.variables):
        return True
    said = [e for c in calls for _, e in c.args] + [let.body for let in model.lets]
    said += [f.expression for f in model.potentials]
    return any(isinstance(e, If) or (isinstance(e, Call) and e.fn in COMPARISONS) for s in said for e in walk(s))


def _states(cells: Sequence[Cell]) -> list[tuple[str, int]]:
    """Every state of each discrete latent, as many as are tried."""
    levels = {c.latent: min(c.levels, MOST_TRIED) for c in cells if c.levels is not None}
    return [(name, state) for name, count in levels.items() for state in range(count)]


def _alike(before: Array, after: Array) -> Array:
    """Row by row, whether two values are the same but for rounding."""
    with np.errstate(invalid="ignore"):
        near = np.isfinite(before) & (np.abs(after - before) <= 1e-13 * (1 + np.abs(before)))
    return np.asarray((after == before) | near)


def colours(reading: Array) -> Array:
    """A colour for each cell so that no row reads two cells of one colour, greedily."""
    together = (reading.T.astype(int) @ reading.astype(int)) > 0
    out = np.full(reading.shape[1], -1)
    for k in range(len(out)):
        taken = set(out[together[k]])
        out[k] = next(c for c in range(len(out) + 1) if c not in taken)
    return out
