"""Whether the density told of the data has a mass of one, where no oracle reaches it: slopes say nothing of a constant.

    1  =  E_h[ p(y) / h(y) ],    y ~ h:  in each column a number beside one that was drawn, by Cauchy's law

so that the tails of h are heavier than those of p. The sampler says where data lie, and is not asked for anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from emdsl.errors import DataError, EmdslError
from emdsl.families.scope import Array
from emdsl.families.table import form
from emdsl.fit.branches import leaves
from emdsl.fit.verify.case import Case, fitted
from emdsl.fit.verify.certificate import Check, measured, reason, skipped
from emdsl.fit.verify.on_average import by_rows
from emdsl.fit.verify.setting import Drawn, again, as_data, draw
from emdsl.fit.verify.world import Unchecked, World
from emdsl.language.model import Variable
from emdsl.runtime.data import faults

NAME = "log-likelihood, mass over all data"
CENTRES, OTHER, WIDTH, FAR = 300, 0.25, 0.3, 30.0  # how often a column is another row's; in quartiles of a column
STEPS, SETS = 3, 120  # elements of a plate, where the log-likelihood is no sum over rows: data sets are rows then
TRIES = 2  # times so many are drawn at most
MOST_COLUMNS, WIDE, ERRORS, SLACK = 8, 0.12, 5.0, 0.05  # a mean known worse than that says nothing
UNSEEN = "where nothing is seen"
DRAWN = ("observed", "latent")
GONE, EVERY, NONE = 3, 4, 1e-9  # rows of which nothing is seen, every so many, and how far from 0 theirs may be
BESIDE = 1e-7  # a step within which a density does not jump
Score = Callable[[Array], Array]  # log p of each of (values, columns)


@dataclass(frozen=True)
class Column:
    """Numbers of one place in a row, as drawn; `atoms` are those that come again, or all of a discrete variable."""

    values: Array
    ends: tuple[float, float]
    atoms: Array

    def line(self, y: Array) -> tuple[Array, Array]:
        """Where numbers lie on the line, and the log derivative of that."""
        below, above = (np.log(np.abs(y - e)) if np.isfinite(e) else np.zeros(y.shape) for e in self.ends)
        free = np.isinf(self.ends).all()
        return (y, below) if free else (below - above, np.log(np.ptp(self.ends)) - below - above if
                np.isfinite(self.ends).all() else -below - above)  # fmt: skip

    def number(self, u: Array) -> Array:
        low, high = self.ends
        if np.isinf(low):
            return u if np.isinf(high) else high - np.exp(-u)
        return low + (np.exp(u) if np.isinf(high) else (high - low) / (1 + np.exp(-u)))

    @cached_property
    def spread(self) -> tuple[float, float]:
        """Median and distance of the quartiles, on the line, of what is no atom."""
        free = self.values[~np.isin(self.values, self.atoms)]
        first, middle, third = np.quantile(self.line(free)[0], [0.25, 0.5, 0.75]) if len(free) else (0.0, 0.0, 0.0)
        return float(middle), float(third - first) or 1.0

    def beside(self, k: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        """A number beside each that is named, and whether it is near enough to be asked about."""
        middle, width = self.spread
        u = self.line(self.values[k])[0] + WIDTH * width * rng.standard_cauchy(len(k))
        atom, near = np.isin(self.values[k], self.atoms), np.abs(u - middle) < FAR * width
        return np.where(near & ~atom, self.number(np.where(near, u, middle)), self.values[k]), near | atom

    def density(self, y: Array) -> Array:
        """(numbers, centres): how dense they are beside each centre, now and then beside any."""
        centres, (u, slope), scale = self.values[:CENTRES], self.line(y), WIDTH * self.spread[1]
        z = (u[:, None] - self.line(centres)[0]) / scale
        smooth = np.exp(slope)[:, None] / (np.pi * scale * (1 + z**2)) * ~np.isin(y, self.atoms)[:, None]
        own = np.where(np.isin(centres, self.atoms), y[:, None] == centres, smooth)
        return np.asarray((1 - OTHER) * own + OTHER * own.mean(axis=1, keepdims=True))


def mass(case: Case) -> Iterator[Check]:
    """The mean of p / h over draws from h, or why it is not known."""
    for v in case.world.model.of_kind("observed"):
        forms = [form(c.family, c.signature) for c in (leaves(v.distribution) if v.distribution is not None else ())]
        if any(by is not None and by.given is not None for by in forms):
            yield skipped(NAME, "", f"the total of {v.name} is told, and its mass is one for each total")
            return
    try:
        with np.errstate(over="ignore"):
            mean, error = _mean(case)
    except Unchecked as why:
        yield skipped(NAME, "", str(why))
        return
    if 0 < WIDE * mean < error:
        yield skipped(NAME, "", f"known to {error / mean:.0%} alone")
        return
    off = abs(np.log(mean)) if mean > 0 else np.inf
    yield measured(NAME, "its logarithm", off, SLACK + ERRORS * error / (mean or 1.0))


def unseen(case: Case) -> Iterator[Check]:
    """A row of which nothing is seen has a likelihood of one."""
    try:
        _one_plate(case)
        drawn, begun = by_rows(case, GONE * EVERY)
        data = dict(drawn.data)
        for v, values in _observed(case, drawn):
            data[v.name] = values.copy()
            data[v.name][::EVERY] = np.nan
        holed = drawn._replace(data=data)
        by_points = case.model.derived.joint.clouds  # as many as the data of the fit ask for
        fit = fitted(case.model.fitter, case.model, holed, begun.params_, 0) if by_points else begun
        rows = np.asarray(fit.score_samples(as_data(case.model.resolved, holed)))
    except (Unchecked, EmdslError, faults.DataError) as why:  # no gaps are taken
        yield skipped(NAME, UNSEEN, reason(why))
        return
    if any(v.shape[:1] != rows.shape for _, v in _observed(case, drawn)):
        yield skipped(NAME, UNSEEN, "data lie on several plates")
        return
    if np.isneginf(rows[::EVERY]).any():  # which a fit refuses
        yield skipped(NAME, UNSEEN, "data with gaps are refused")
        return
    most = NONE + abs(fit.quadrature_error_ or 0.0)
    yield measured(NAME, UNSEEN, float(np.abs(rows[::EVERY]).max()), most)


def _one_plate(case: Case) -> None:
    """Raises Unchecked where what has a log-likelihood of its own need not be a row of the data."""
    outer = {v.plates[0].size if v.plates else None for v in case.world.model.variables if v.kind in DRAWN}
    if None in outer or len(outer) > 1:
        raise Unchecked("data and latents lie on several plates")


def _mean(case: Case) -> tuple[float, float]:
    """That mean and its standard error, beside rows that the sampler drew, or whole data sets. Raises Unchecked."""
    try:
        table, columns, score = _rows(case)
    except Unchecked:
        table, columns, score = _sets(case)
    rng, (rows, width) = case.rng(12), table.shape
    mine, others = rng.integers(min(CENTRES, rows), size=(rows, 1)), rng.integers(min(CENTRES, rows), size=table.shape)
    named = np.where(rng.random(table.shape) < OTHER, others, mine)
    y, near, dense = np.empty_like(table), np.ones(rows, bool), np.ones(())
    for j in range(width):
        y[:, j], here = columns[j].beside(named[:, j], rng)
        near, dense = near & here, dense * columns[j].density(y[:, j])
    ratio = np.where(near, np.exp(np.nan_to_num(score(y), nan=-np.inf)) / dense.mean(axis=1), 0.0)
    return float(ratio.mean()), float(ratio.std() / np.sqrt(rows))


def _rows(case: Case) -> tuple[Array, list[Column], Score]:
    """Where rows have log-likelihoods of their own. Raises Unchecked."""
    _one_plate(case)
    drawn, fit = by_rows(case)
    told = _observed(case, drawn)
    rows = len(told[0][1]) if told[0][1].ndim else 0
    if not rows or any(v.shape[:1] != (rows,) for _, v in told):
        raise Unchecked("data lie on several plates")
    table, columns = _table(told, rows)

    def score(y: Array) -> Array:
        return np.asarray(fit.score_samples(as_data(case.model.resolved, _placed(case, drawn, y))))

    told_of = score(table)
    if told_of.shape != (rows,):
        raise Unchecked("a row holds what there is of it in a ragged plate")
    moved = table.copy()  # a limit of a row's own has a mass, and beside it there is none, or a density
    for j, c in enumerate(columns):
        moved[:, j] += BESIDE * (1 + np.abs(table[:, j])) * ~np.isin(table[:, j], c.atoms)
    if (np.abs(score(moved) - told_of) > np.sqrt(BESIDE)).mean() > SLACK:
        raise Unchecked("rows have numbers with a mass of their own")
    return table, columns, score


def _sets(case: Case) -> tuple[Array, list[Column], Score]:
    """Whole data sets as rows, of few elements each. Raises Unchecked."""
    text = case.world.model
    if text.potentials:
        raise Unchecked("no data are drawn from factors")
    try:
        drawn = draw(text, case.seed + 37, STEPS, folded=case.drawn.setting.folded)
    except DataError as why:
        raise Unchecked(why.problems[0].message) from None
    _few(sum(np.size(v) for _, v in _observed(case, drawn)))
    start = {n: np.asarray(v, float) for n, v in drawn.setting.params.items()}
    every = list[dict[str, Array]]()
    for k in range(TRIES * SETS):
        with suppress(DataError):  # latents of which hardly any draw of the data falls into its domain
            every.append(again(text, drawn, case.rng(1000 + k)).data)
        if len(every) == SETS:
            break
    else:
        raise Unchecked(f"of {TRIES * SETS} data sets {len(every)} can be drawn")
    told = [(v, np.array([np.ravel(d[v.name]) for d in every], float)) for v in text.of_kind("observed")]

    priors = World.of(text, drawn).priors(start)  # which may read givens

    def one(row: Array) -> float:
        try:
            fit = fitted(case.model.fitter, case.model, _placed(case, drawn, row[None]), start, 0)
        except DataError:  # which are impossible
            return -np.inf
        return float(fit.history_[0] - priors)

    return *_table(told, SETS), lambda y: np.array([one(row) for row in y])


def _observed(case: Case, drawn: Drawn) -> list[tuple[Variable, Array]]:
    return [(v, np.asarray(drawn.data[v.name], float)) for v in case.world.model.of_kind("observed")]


def _table(told: list[tuple[Variable, Array]], rows: int) -> tuple[Array, list[Column]]:
    """(rows, columns), and what each column is. Raises Unchecked where a variable is no number."""
    columns = []
    for v, values in told:
        if not (v.domain.interval or v.domain.discrete) or v.domain.lower is not None or v.domain.upper is not None:
            raise Unchecked(f"{v.name} is no number between ends that are known")
        ends = (-np.inf, np.inf) if v.domain.discrete else v.domain.ends
        for column in values.reshape(rows, -1).T:
            again, times = np.unique(column, return_counts=True)
            columns.append(Column(column, ends, again[(times > 1) | v.domain.discrete]))
    _few(len(columns))
    return np.concatenate([v.reshape(rows, -1) for _, v in told], axis=1), columns


def _few(columns: int) -> None:
    if columns > MOST_COLUMNS:
        raise Unchecked(f"a row of data has {columns} numbers: too many for its mass")


def _placed(case: Case, drawn: Drawn, table: Array) -> Drawn:
    """The data with numbers of a table in the place of those observed."""
    data, at = dict(drawn.data), 0
    for v, old in _observed(case, drawn):
        width = old.size // len(table)
        data[v.name] = table[:, at : at + width].reshape(old.shape).astype(drawn.data[v.name].dtype)
        at += width
    return drawn._replace(data=data)
