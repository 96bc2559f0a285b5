"""Integrals over the latents of a model, from values of its log joint alone.

    log p(x) = log sum_z int_h exp( sum over rows f_r(z, h) )

Sums go cell by cell (each factor a table), Gaussian cells in every configuration by one dense Gaussian, others by the
trapezoidal rule in coordinates without bounds. Posterior expectations are derivatives of the log-normaliser,

    E[g] = d/ds log Z(f + s g)  at s = 0,

taken by a complex step (Squire and Trapp 1998), so exact to rounding. Nothing of this knows what was derived.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np

from emdsl.families.scope import Array
from emdsl.fit.verify.cells import Cell, drawn_values, own_values, placed
from emdsl.fit.verify.component import Tilt, component_norm, components_of, refuse_many
from emdsl.fit.verify.elimination import eliminated
from emdsl.fit.verify.grids import grid
from emdsl.fit.verify.layout import Known, Layout, find_cells, lay_out, quadratic_cells
from emdsl.fit.verify.tables import STEP, Table, add, integrated, tables, tops, value_at
from emdsl.fit.verify.world import Unchecked, World

COARSE, FINE = 61, 40  # nodes that find where the mass is, nodes that integrate it
OF_STICKS = 41  # as COARSE, where the nodes of several numbers meet
NEGLIGIBLE = 20.0  # errors below exp(-20) of the whole
DEPTH = 34.0  # mass below exp(-34) of the mode is left out
DEPTH_OF_MASS = 25.0  # so where the score is of masses: of how widely others are spread, not of densities alone
OF_SQUARES = 23.0  # and what is below exp(-23) of the largest square: of the variance, which is compared to 1e-8


class Sight(NamedTuple):
    """What trying shows: cells, which rows read them, which are Gaussian, how many rows each declaration has."""

    cells: list[Cell]
    reading: Array
    gaussian: tuple[bool, ...]
    counts: list[int]

    @staticmethod
    def of(world: World, params: Mapping[str, Array], rng: np.random.Generator) -> Sight:
        cells, reading = find_cells(world, params, rng)
        gaussian = quadratic_cells(world, params, cells, rng)
        return Sight(
            cells, reading, gaussian, [len(p) for p in world.parts(world.declarations(), params, world.latents)]
        )


@dataclass(frozen=True)
class Oracle:
    layout: Layout
    components: tuple[tuple[int, ...], ...]

    @staticmethod
    def of(world: World, params: Mapping[str, Array], rng: np.random.Generator, fine: int = FINE) -> Oracle:
        """For the posterior at these parameters, which say where the nodes of a quadrature lie. Raises Unchecked."""
        return Oracle._of(world, params, rng, fine, Sight.of(world, params, rng))

    @staticmethod
    def _of(
        world: World, params: Mapping[str, Array], rng: np.random.Generator, fine: int, seen: Sight
    ) -> Oracle:  # fmt: skip
        cells, reading, gaussian, counts = seen
        nodes = [np.arange(c.levels or 1.0) for c in cells]
        weights = [np.zeros(len(n)) for n in nodes]
        by_grid = [k for k, c in enumerate(cells) if c.levels is None and not gaussian[k]]
        at = {k: np.linspace(-6.0, 40.0, OF_STICKS if cells[k].stick else COARSE) for k in by_grid}
        for size in (fine, fine) if by_grid else ():  # where the mass is, and then more closely
            for k in by_grid:
                nodes[k], weights[k] = grid(cells[k], at[k])
            found = lay_out(world, cells, reading, gaussian, nodes, weights, counts)
            mine = tables(found, params)
            at = {k: _where(mine, found, k, at[k], size) for k in by_grid}
        for k in by_grid:
            nodes[k], weights[k] = grid(cells[k], at[k])
        layout = lay_out(world, cells, reading, gaussian, nodes, weights, counts)
        oracle = Oracle(layout, components_of(reading))
        refuse_many(oracle.components, layout)
        oracle.check(params, rng)
        return oracle

    @staticmethod
    def settled(
        world: World, params: Mapping[str, Array], seed: int, fine: int
    ) -> tuple[Oracle, tuple[Table, ...], int]:
        """The oracle, its tables, and how many nodes its quadratures need: so many, or twice or four times as many.

        Raises Unchecked.
        """
        rng = np.random.default_rng(seed)
        seen = Sight.of(world, params, rng)
        for nodes in (fine, 2 * fine, 4 * fine):
            oracle = Oracle._of(world, params, rng, nodes, seen)
            found = tuple(tables(oracle.layout, params))
            try:
                if not oracle.settle(found):  # a kink may stand where half of the nodes have the same error
                    oracle.same_as(Oracle._of(world, params, rng, nodes * 5 // 4, seen), params, found)
            except Unchecked:
                if nodes == 4 * fine:
                    raise
                continue
            break
        return oracle, found, nodes

    @property
    def by_nodes(self) -> bool:
        """Whether some cell is integrated at nodes, which lie where the posterior at some parameters is."""
        return any(c.levels is None and not g for c, g in zip(self.layout.cells, self.layout.gaussian, strict=True))

    def check(self, params: Mapping[str, Array], rng: np.random.Generator) -> None:
        """The tables are the log joint, at random latents. Raises Unchecked where they are not."""
        mine, layout = tables(self.layout, params), self.layout
        spiked = any(c.atoms for c in layout.cells)
        for trial in range(6 if spiked else 4):
            values = drawn_values(layout.world, layout.cells, rng)
            if trial % 2 if spiked else trial == 3:  # as drawn: at random few points are possible
                values = own_values(layout.world, layout.cells)
            at = np.zeros(len(values), int)
            for k, c in enumerate(layout.cells):
                if not layout.gaussian[k]:
                    at[k] = _place(c, layout.nodes[k], values[k], rng)
                    values[k] = layout.nodes[k][at[k]]
            wanted = float(layout.world.rows(params, placed(layout.world, layout.cells, values)).sum())
            h = values - layout.centre
            total = sum(value_at(t, at, h, layout) for t in mine)
            if not (wanted == total or abs(wanted - total) < 1e-8 * (1 + abs(wanted))):
                raise Unchecked("which latents a term of the log joint reads was not found by trying")

    def log_norm(self, found: Sequence[Table], along: Sequence[Table] | None = None) -> complex:
        """log p(x, parameters) of the tables; with `along`, the imaginary part is STEP times their expectation."""
        mixed = found if along is None else [add(f, g) for f, g in zip(found, along, strict=True)]
        place = {k: n for n, cells in enumerate(self.components) for k in cells}
        total, mine = 0j, [list[Table]() for _ in self.components]
        for t in mixed:
            if cell := (*t.discrete, *t.gaussian)[:1]:
                mine[place[cell[0]]].append(t)
            else:
                total += complex(t.a.reshape(-1)[0])
        return total + sum(map(partial(component_norm, layout=self.layout), self.components, mine))

    def settle(self, found: Sequence[Table]) -> bool:
        """Raises Unchecked where a quadrature is not exact: with fewer and fewer nodes, errors must fall off squarely.

        Totals with a quarter and half of the nodes and all of them tell the next error, if errors fall by one ratio.
        Two totals may be off by the same number, but twice the nodes do not more than square an error. Whether half do.
        """
        self._ended(found)
        if not self.by_nodes:
            return True
        total = [float(self._thinned(step).log_norm(found).real) for step in (4, 2, 1)]
        first, second = abs(total[0] - total[1]), abs(total[1] - total[2])
        _refuse(max(second * second / max(first, second, 1e-300), min(first, 1.0) ** 4), total[2])
        return second < 1e-9 * (1 + abs(total[2]))

    def _ended(self, found: Sequence[Table]) -> None:
        """Raises Unchecked where counts without an end, which are summed up to one, have mass beyond: what half and
        three quarters of the counts leave out tells of the rest."""
        endless = [c.levels is not None and bool(np.isinf(c.ends[1])) for c in self.layout.cells]
        if any(endless):
            total = [float(self._up_to(part, endless).log_norm(found).real) for part in (0.5, 0.75, 1.0)]
            first, second = abs(total[0] - total[1]), abs(total[1] - total[2])
            _refuse(second * second / max(first, second, 1e-300), total[2])

    def _up_to(self, part: float, endless: Sequence[bool]) -> Oracle:
        """The first of the levels of some cells alone."""
        weights = tuple(
            np.where(np.arange(len(w)) < part * len(w), w, -np.inf) if of else w
            for w, of in zip(self.layout.weights, endless, strict=True)
        )
        return replace(self, layout=replace(self.layout, weights=weights))

    def same_as(self, other: Oracle, params: Mapping[str, Array], found: Sequence[Table]) -> None:
        """Raises Unchecked where nodes at other places have another total."""
        _refuse(abs(other.total(params) - self.log_norm(found).real), float(self.log_norm(found).real))

    def _thinned(self, step: int) -> Oracle:
        """Only every so many of the nodes."""
        cells = zip(self.layout.cells, self.layout.weights, self.layout.gaussian, strict=True)
        weights = tuple(w if c.levels is not None or g else _every(w, step, len(c.atoms)) for c, w, g in cells)
        return replace(self, layout=replace(self.layout, weights=weights))

    def total(self, params: Mapping[str, Array]) -> float:
        """The log-likelihood plus the log density of the priors."""
        return float(self.log_norm(tables(self.layout, params)).real)

    def log_likelihood(self, params: Mapping[str, Array]) -> float:
        """Without the priors, beside which it may have no digits."""
        found, layout = tables(self.layout, params), self.layout
        every = zip(layout.world.declarations(), layout.spans, strict=True)
        mine = [t for d, (a, b) in every if getattr(d, "kind", "") != "param" for t in found[a:b]]
        return float(self.log_norm(mine).real)

    def expectation(self, found: Sequence[Table], params: Mapping[str, Array], near: Known | None = None) -> float:
        """Q: the posterior expectation, under the tables found, of the log joint at other parameters."""
        return float(self.log_norm(found, tables(self.layout, params, near)).imag / STEP)

    def without(self, found: Sequence[Table], gone: frozenset[int]) -> tuple[Oracle, list[Table]]:
        """The oracle of the other cells, and the tables when these are summed out, Gaussian ones each in its own row.

        Raises Unchecked.
        """
        normal = frozenset(k for k in gone if self.layout.gaussian[k])
        if any(sum(k in t.gaussian for t in found) > 1 for k in normal):
            raise Unchecked("what is integrated out is read by several terms, and is Gaussian")
        found, gone = [integrated(t, normal) for t in found], gone - normal
        left = [t for t in found if not gone.intersection((*t.discrete, *t.gaussian))]
        mine = [t for t in found if gone.intersection((*t.discrete, *t.gaussian))]
        if any(t.gaussian for t in mine):
            raise Unchecked("what is integrated out by its tail stands beside Gaussian latents")
        factors = [(t.discrete, t.a) for t in mine] + [((k,), self.layout.weights[k]) for k in sorted(gone)]
        for cells, value in eliminated([(c, np.asarray(v, complex)) for c, v in factors], self.layout, gone):
            none = len(np.ravel(value))
            left.append(Table(cells, (), np.ravel(value).real, np.zeros((none, 0)), np.zeros((none, 0, 0))))
        reading = np.zeros((len(left), len(self.layout.cells)), bool)
        for r, t in enumerate(left):
            reading[r, [*t.discrete, *t.gaussian]] = True
        components = tuple(c for c in components_of(reading) if not (gone | normal).intersection(c))
        return replace(self, components=components), left

    def moment(self, found: Sequence[Table], tilt: Tilt) -> float:
        """The posterior expectation of a function of one cell, of which the step stays small however large it is."""
        scale = 1.0 if tilt.levels is None else max(1.0, float(np.abs(tilt.levels).max(initial=0.0)))
        if tilt.levels is not None:
            tilt = replace(tilt, levels=tilt.levels / scale)
        cells = next(c for c in self.components if tilt.cell in c)
        mine = [t for t in found if not set(cells).isdisjoint((*t.discrete, *t.gaussian))]
        return scale * float(component_norm(cells, mine, self.layout, tilt).imag / STEP)

    def mean(self, found: Sequence[Table], cells: Sequence[int], f: Callable[[Array], Array]) -> float:
        """The posterior expectation of a function of cells at nodes that one row reads together.

        f : (values, cells) -> (values,). Raises Unchecked where no row reads them together.
        """
        row = next((r for r, t in enumerate(found) if set(t.discrete).issuperset(cells)), None)
        if row is None:
            raise Unchecked("no term of the log joint reads it whole")
        nodes = [self.layout.nodes[d] for d in found[row].discrete]
        at = dict(zip(found[row].discrete, np.indices([len(n) for n in nodes]).reshape(len(nodes), -1), strict=True))
        value = f(np.stack([self.layout.nodes[k][at[k]] for k in cells], axis=-1))
        along = [replace(t, a=np.zeros_like(t.a), b=np.zeros_like(t.b), A=np.zeros_like(t.A)) for t in found]
        along[row] = replace(along[row], a=value)
        return float(self.log_norm(found, along).imag / STEP)

    def marginal(self, found: Sequence[Table], k: int) -> Array:
        """Probabilities of a discrete cell; mean and variance of another."""
        cell, layout = self.layout.cells[k], self.layout
        if cell.levels is not None:
            return np.array([self.moment(found, Tilt(k, row)) for row in np.eye(cell.levels)])
        if layout.gaussian[k]:
            first, second = self.moment(found, Tilt(k, linear=1.0)), self.moment(found, Tilt(k, square=1.0))
            return np.array([first + layout.centre[k], second - first**2])
        first, second = (self.moment(found, Tilt(k, layout.nodes[k] ** p)) for p in (1, 2))
        return np.array([first, second - first**2])

    def product(self, found: Sequence[Table], k: int, other: int) -> float:
        """The posterior expectation of the product of two cells. Raises Unchecked."""
        layout = self.layout
        if not layout.gaussian[k] and not layout.gaussian[other]:
            return self.mean(found, (k, other), lambda values: np.prod(values, axis=-1))
        if not layout.gaussian[k] or not layout.gaussian[other]:
            raise Unchecked("one of two numbers is Gaussian, the other is not")
        a, b = layout.centre[k], layout.centre[other]
        first, second = (self.moment(found, Tilt(c, linear=1.0)) for c in (k, other))
        together = (
            self.moment(found, Tilt(k, other=other))
            if any({k, other} <= set(c) for c in self.components)
            else first * second
        )
        return float(together + a * second + b * first + a * b)

    def doubt(self, found: Sequence[Table], k: int) -> float:
        """How far off a cell's mean and variance may be, of 1 + their size: ten times what twice the nodes change.

        The mass settles first: with tails of a Student t of few degrees, errors of the variance fall off slowly.
        """
        half, whole = self._thinned(2).marginal(found, k), self.marginal(found, k)
        return 10 * float((np.abs(half - whole) / (1 + np.abs(whole))).max())


def _place(cell: Cell, nodes: Array, value: float, rng: np.random.Generator) -> int:
    """A node for a cell: its level, the value if it has mass, any other else."""
    if cell.levels is not None:
        return int(value)
    rule = len(nodes) - len(cell.atoms)
    return rule + cell.atoms.index(value) if value in cell.atoms else int(rng.integers(rule))


def _every(weights: Array, step: int, atoms: int) -> Array:
    """The weights of a coarser rule on some of the nodes; the last ones, which are none of the rule, stay."""
    out, rule = np.full_like(weights, -np.inf), len(weights) - atoms
    out[:rule:step] = weights[:rule:step] + np.log(step)
    out[rule:] = weights[rule:]
    return out


def _refuse(error: float, total: float) -> None:
    if not error < 1e-9 * (1 + abs(total)):
        raise Unchecked(
            f"its integral is known to {error:.0e} alone: its quadrature, or a sum without an end, converges slowly"
        )


def _where(found: Sequence[Table], layout: Layout, k: int, s: Array, size: int) -> Array:
    """Finer nodes over where a cell's mass can be, whatever the others are."""
    score, met = layout.weights[k][: len(s)].copy(), set[int]()
    for table in found:
        if k in table.discrete:
            axis = table.discrete.index(k)
            value = tops(table).reshape([len(layout.nodes[d]) for d in table.discrete])
            for n, d in enumerate(table.discrete):  # near 0 a density of probabilities has no largest value
                if d != k and (layout.cells[d].stick is not None or (d not in met and _is_scale(layout.cells[d]))):
                    value = value + np.moveaxis(layout.weights[d][..., *[None] * (value.ndim - 1)], 0, n)
                    met.add(d)
            score += np.moveaxis(value, axis, 0).reshape(len(layout.nodes[k]), -1)[: len(s)].max(axis=1)
    nodes = layout.nodes[k][: len(s)]
    with np.errstate(over="ignore"):
        squares = score + np.log1p(np.minimum(nodes**2, 1e300))  # of a variance the mass may lie far from most of this
    inside = np.flatnonzero(
        (score > score.max() - (DEPTH_OF_MASS if met else DEPTH)) | (squares > squares.max() - OF_SQUARES)
    )
    if not inside.size and layout.cells[k].atoms:
        return s  # all of its mass is at these
    if not inside.size:
        raise Unchecked("its density has no mass at any node: in some rows a latent is known to be one number")
    if layout.cells[k].stick is not None and max(score[0], score[-1]) > score.max() - NEGLIGIBLE:
        raise Unchecked("probabilities have mass so near 0 that no node is there")
    step = s[1] - s[0]  # off the middle: with a kink midway between two nodes, half of them have the same error
    return np.linspace(s[inside[0]] - step, s[inside[-1]] + 1.37 * step, size)


def _is_scale(cell: Cell) -> bool:
    """Whether a cell lies on half of the line: far out its density is low because its mass is spread widely."""
    return cell.levels is None and bool(np.isfinite(cell.ends[0]) != np.isfinite(cell.ends[1]))
