"""The checks against an oracle: log-likelihood, posterior, Fisher's identity, the M-step, and the sampler itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import scipy  # whose parts load where they are first read: few models need a Bessel function

from emdsl.derive.updates.rules import Numeric
from emdsl.errors import DataError
from emdsl.families.scope import Array
from emdsl.fit.interpret import log_prob
from emdsl.fit.verify import mass, on_average
from emdsl.fit.verify.blur import beside_rounding
from emdsl.fit.verify.case import Case
from emdsl.fit.verify.certificate import Check, largest, measured, skipped
from emdsl.fit.verify.component import Tilt
from emdsl.fit.verify.held import completed
from emdsl.fit.verify.oracle import Oracle
from emdsl.fit.verify.setting import draw, flat
from emdsl.fit.verify.space import Space
from emdsl.fit.verify.sticks import probabilities
from emdsl.fit.verify.tables import tables
from emdsl.fit.verify.world import Unchecked, World
from emdsl.language.model import Variable

EXACT, SLOPE = 1e-8, 1e-5
BY_POINTS = 1e-6  # of moments: what points may miss of them that miss next to nothing of the log-likelihood
SLOWLY = 4  # times what twice the points change: an error that falls as one over their root is 3.4 times that
APPROXIMATE = "the posterior is approximate by choice"
MOST_CELLS = 12  # of one latent whose moments are compared
SMALL = 1e-4  # a step of differences
SAMPLED = 60  # elements of a plate in the data that try the sampler, twice as many whenever they are drawn again
TRIES, FALSE_ALARM = 3, 5.0  # draws, and standard errors
MOST_THERE = 0.9  # of the rows that try the sampler: as many have a slope
ALIKE = 1e-6  # of the largest score: rows of one event, beside which a rare one has the other sign


def sampler(case: Case) -> Iterator[Check]:
    """E[d log p(row | what it depends on) / d theta] = 0: rows drawn and rows scored are of one model.

    Given what comes before it, each row's score has mean zero, so their sum over the root of the sum of squares is
    about standard normal for every direction in the parameters.
    """
    name = "draws have the density's moments"
    if not any(v.kind != "param" and v.distribution is not None for v in case.world.model.variables):
        raise Unchecked("it has nothing to draw: its factors are all there is")
    rng, off = case.rng(1), dict[str, list[float]]()
    for attempt in range(TRIES):
        try:
            drawn = draw(case.world.model, case.seed + attempt, SAMPLED * 2**attempt, folded=case.drawn.setting.folded)
        except DataError as why:  # so many rows in turn, each larger than the last
            if attempt:
                break
            raise Unchecked(why.problems[0].message) from None
        for param, figure in _scores(World.of(case.world.model, drawn), drawn.setting.params, rng):
            off.setdefault(param, []).append(figure)
        if all(min(figures) <= FALSE_ALARM for figures in off.values()):
            break  # else what is rare may not have been drawn: rows that score all alike
    for param, figures in off.items():
        if np.isnan(figures).all():
            yield skipped(name, param, "what was drawn is impossible beside it, rounded, or one event alone")
        else:
            yield measured(name, param, np.nanmin(figures), FALSE_ALARM)


def _scores(world: World, drawn: Mapping[str, Any], rng: np.random.Generator) -> Iterator[tuple[str, float]]:
    """For each parameter the sum of the rows' scores over the root of that of their squares."""
    params = {n: np.asarray(v, float) for n, v in drawn.items()}
    space = Space.of(world.model.of_kind("param"), world.scope, params)
    mine = [v for v in world.model.variables if v.kind != "param" and v.distribution is not None]
    for param in params:
        step = direction(space, param, rng)

        def rows(size: float, param: str = param, step: Array = step) -> Array:
            moved = space.at(params, {param: size * step})
            latents = completed(world.held, world.latents, moved)
            scope = replace(world.scope, values={**world.scope.values, **latents, **moved})
            return np.concatenate([part.reshape(-1) for v in mine for part in log_prob(world.model, v, scope)])

        up, down = rows(SMALL), rows(-SMALL)
        there = np.isfinite(up) & np.isfinite(down)  # not where a threshold moves past what was drawn
        score = (up[there] - down[there]) / (2 * SMALL)
        size = float(np.sqrt((score**2).sum()))
        off = abs(float(score.sum())) / size if size > 0 else 0.0
        read = score[score != 0]
        rare = off > FALSE_ALARM and float(np.ptp(read)) < ALIKE * float(np.abs(read).max())
        rounded = off > FALSE_ALARM and bool(np.isposinf(up).any())  # onto an end, where what is left out has a score
        yield param, np.nan if rare or rounded or there.mean() <= MOST_THERE else off


def likelihood(case: Case) -> Iterator[Check]:
    """log p(x) by sums and integrals over everything; after three M-steps too, where nothing old may be left."""
    name = "log-likelihood" if case.exact else "the bound is below the log-likelihood"
    if case.oracle is None and case.exact:
        yield from _on_average(case, on_average.scores, on_average.NAME)
        yield from mass.mass(case)
        yield from mass.unseen(case)
    oracle = case.need()
    known = bool(certain_of(case))  # a few rows have no finite estimate, and the likelihood is raised to the end
    for subject, steps in (("at the start", 0), ("after three M-steps", 3))[: 1 if known else 2]:
        fit = case.fit(case.start, steps) if steps else case.begun
        params = {n: np.asarray(v, float) for n, v in fit.params_.items()}
        total = (placed_at(case, params) if steps else oracle).total(params)
        if case.exact and abs(fit.history_[-1] - total) > EXACT * (1 + abs(total)):
            total = _finer(case, params, total)
        off = (fit.history_[-1] - total) / (1 + abs(total))
        yield told_of(name, subject, abs(off) if case.exact else off, fit, total)
    fit = case.begun
    if case.exact and not case.world.model.potentials and fit.log_likelihood_ is not None:
        total = oracle.log_likelihood(case.start)
        yield told_of(name, "without priors", abs(fit.log_likelihood_ - total) / (1 + abs(total)), fit, total)


def _on_average(case: Case, run: Callable[[Case], Iterator[Check]], name: str) -> Iterator[Check]:
    """What no oracle reaches, on average over data drawn, over others where it fails: what is rare may be in none."""
    try:
        found = list(run(case))
        if any(c.status == "failed" for c in found):
            again = {c.subject: c for c in run(replace(case, seed=case.seed + 1))}
            found = [min(c, again.get(c.subject, c), key=lambda c: c.figure or 0.0) for c in found]
        yield from found
    except Unchecked as why:
        yield skipped(name, "", str(why))


def told_of(name: str, subject: str, off: float, fit: Any, total: float) -> Check:
    """How far off, and how far it may be: what a fit by a given number of points tells of its own error is no fault."""
    points = abs(fit.quadrature_error_ or 0.0) / (1 + abs(total)) if off > EXACT else 0.0
    note = "twice the points tell of errors up to this" if points > EXACT else ""
    return measured(name, subject, off, EXACT + SLOWLY * points if note else EXACT, note)


def placed_at(case: Case, params: Mapping[str, Array]) -> Oracle:
    """The oracle with its nodes where the posterior is at other parameters. Raises Unchecked."""
    world = case.world
    if case.oracle is not None and not world.held and not case.oracle.by_nodes:  # sums and Gaussians lie nowhere
        case.oracle.check(params, case.rng(13))
        case.oracle.settle(tables(case.oracle.layout, params))
        return case.oracle
    if world.held:  # what follows from other numbers does so in another way
        world = World.of(world.model, case.drawn._replace(setting=case.drawn.setting._replace(params=dict(params))))
    return Oracle.settled(world, params, case.seed, case.fine)[0]


def _finer(case: Case, params: Mapping[str, Array], total: float) -> float:
    """The log-likelihood by twice the nodes; as it was where the oracle does not reach so many."""
    try:
        return Oracle.of(case.world, params, np.random.default_rng(case.seed), 2 * case.fine).total(params)
    except Unchecked:
        return total


def posterior(case: Case) -> Iterator[Check]:
    """Probabilities, means and variances of the latents given the data."""
    name = "posterior"
    if not case.world.model.of_kind("latent"):
        raise Unchecked("no variable is latent")
    if case.oracle is None and case.exact:
        yield from _on_average(case, on_average.latents, on_average.OF_LATENTS)
    oracle, shown = case.need(), case.begun.posterior_
    if not case.exact:
        raise Unchecked(APPROXIMATE)
    case.settled()
    for v in case.world.model.of_kind("latent"):
        mine = [k for k, c in enumerate(oracle.layout.cells) if c.latent == v.name][:MOST_CELLS]
        untold = v.name not in shown
        if untold and v.name in case.derived.joint.tails | case.derived.joint.deterministic:
            yield skipped(name, v.name, "it is integrated out, or a function of others, and told of nowhere")
            continue
        if not mine:
            yield skipped(name, v.name, "none of its numbers is free: they follow from others")
            continue
        far = partial(_of_shares, case, v=v) if case.world.broken(v.name) else partial(_of_cells, case, mine=mine)
        try:
            off = largest(*far(shown[v.name]))
            at_twice = at_twice_the_points(case.begun) if EXACT < off < BY_POINTS else {}
            again = largest(*far(at_twice[v.name])) if v.name in at_twice else off
        except Unchecked as why:
            yield skipped(name, v.name, str(why))
            continue
        note = f"at twice the points, which tell of an error of {off:.0e}" if again < off else ""
        yield measured(name, v.name, again, EXACT, note)


def at_twice_the_points(fit: Any) -> Mapping[str, Any]:
    """The posterior that a fit tells under twice the points of its quadratures; nothing where it has none."""
    if not hasattr(fit._module, "finer"):
        return {}
    bound, prepared = fit._training
    found = fit._ask("posterior", fit.params_, bound, fit._module.finer(prepared))
    told: Mapping[str, Any] = fit._nested(found, bound)
    return told


def _of_cells(case: Case, shown: Any, mine: Sequence[int]) -> list[float]:
    """How far the reported moments are, of the cells of which they are known. Raises Unchecked where these are none."""
    far, last = list[float](), Unchecked("")
    for k in mine:
        try:
            far.append(_distance(case, shown, k))
        except Unchecked as why:
            last = why
    if not far:
        raise last
    return far + _of_pairs(case, shown, mine)


def _of_pairs(case: Case, shown: Any, mine: Sequence[int]) -> list[float]:
    """How far the reported covariances of the numbers of one element are, of those that the oracle knows."""
    if not isinstance(shown, Mapping) or "cov" not in shown or not np.isfinite(flat(shown["cov"])).all():
        return []
    oracle, size = case.need(), flat(shown["cov"]).shape[-1]
    cells, cov = oracle.layout.cells, flat(shown["cov"]).reshape(-1, size, size)
    if cov[:, 0].size != case.world.latents[cells[mine[0]].latent].size:
        return []  # of numbers of several elements together
    far = []
    for a, b in combinations(mine, 2):
        (row, i), (other, j) = divmod(cells[a].at, size), divmod(cells[b].at, size)
        with suppress(Unchecked):
            if row == other:
                means = [oracle.marginal(case.found, k) for k in (a, b)]
                wanted = oracle.product(case.found, a, b) - means[0][0] * means[1][0]
                scale = 1 + float(np.sqrt(means[0][1] * means[1][1]))
                off = float(np.abs(cov[row, [i, j], [j, i]] - wanted).max()) / scale
                if off <= EXACT or off > max(oracle.doubt(case.found, k) for k in (a, b)):
                    far.append(off)
    return far


def _distance(case: Case, shown: Any, k: int) -> float:
    """How far the reported moments of a cell are from the oracle's."""
    oracle = case.need()
    cell = oracle.layout.cells[k]
    wanted = oracle.marginal(case.found, k)
    if cell.levels is not None and isinstance(shown, dict):  # of a count without an end: its moments
        levels = np.arange(len(wanted))
        first = wanted @ levels
        beyond = wanted[-1] * len(wanted) ** 2  # of squares, by as much as the last of them; geometric tails have ten
        wanted = np.array([first, wanted @ (levels - first) ** 2])
        if 10 * beyond > EXACT * (1 + wanted[1]):
            raise Unchecked(f"some of its mass lies beyond {len(levels)}, the last count that is summed over")
    elif cell.levels is not None:
        table = flat(shown)
        if table.shape[-1] < cell.levels and table.ndim < 2:
            raise Unchecked("its posterior is told by means alone")
        row = table.reshape(-1, table.shape[-1])[cell.at][: cell.levels]
        return float(np.abs(row - wanted[: len(row)]).max())
    if "concentration" in shown:  # of a direction: the mean of its point on the circle
        at, concentration = (flat(shown[n]).reshape(-1)[cell.at] for n in ("mean", "concentration"))
        length = float(scipy.special.i1e(concentration) / scipy.special.i0e(concentration))
        nodes = oracle.layout.nodes[k]
        far = [abs(length * f(at) - oracle.moment(case.found, Tilt(k, f(nodes)))) for f in (np.cos, np.sin)]
        return largest(*far)
    if "mean" not in shown:
        raise Unchecked("its posterior is told without a mean")
    size = case.world.latents[cell.latent].size
    mean = flat(shown["mean"]).reshape(-1)[cell.at]
    out = abs(mean - wanted[0]) / (1 + abs(wanted[0]))
    if "cov" in shown:
        cov = flat(shown["cov"])
        spread = np.diagonal(cov, axis1=-2, axis2=-1).reshape(-1)
    elif "var" in shown:
        spread = flat(shown["var"]).reshape(-1)
    else:
        return float(out)
    if len(spread) != size:
        return np.inf  # of another shape, and so of none of its numbers
    out = float(np.maximum(out, abs(spread[cell.at] - wanted[1]) / (1 + wanted[1])))
    if not out <= EXACT and (known := oracle.doubt(case.found, k)) > EXACT:
        if out <= known:
            raise Unchecked(f"its moments are known to {known:.0e} alone: their quadrature converges slowly")
        if not np.isfinite(spread[cell.at]):
            raise Unchecked("no variance is told, and by the oracle's quadrature it has none")
    return float(out)


def _of_shares(case: Case, shown: Any, v: Variable) -> list[float]:
    """How far the reported means of probabilities are from the oracle's, number by number."""
    if "mean" not in shown:
        raise Unchecked("its posterior is told without a mean")
    oracle, told = case.need(), flat(shown["mean"])
    size, elements = told.shape[-1], dict[int, list[int]]()
    for k, c in enumerate(oracle.layout.cells):
        if c.latent == v.name:
            elements.setdefault(c.at // size, []).append(k)

    def share(numbers: Array, k: int) -> Array:
        return probabilities(np.concatenate([numbers, np.zeros((len(numbers), 1))], axis=1))[:, k]

    few = list(elements.items())[:MOST_CELLS]
    wanted = np.array([[oracle.mean(case.found, c, partial(share, k=k)) for k in range(size)] for _, c in few])
    return [float(np.abs(told.reshape(-1, size)[[e for e, _ in few]] - wanted).max(initial=0.0))]


def fisher(case: Case) -> Iterator[Check]:
    """d log p(x) / d theta, of the objective that is reported, equals dQ / d theta, of the oracle, at one point."""
    name = "Fisher's identity"
    oracle, rng = case.need(), case.rng(2)
    near = oracle.layout.known(case.start)
    if not case.exact:
        raise Unchecked(APPROXIMATE)
    case.settled()
    certain, total = certain_of(case), log_likelihood_by(case, oracle) if case.derived.joint.tails else None
    for param in case.start:
        known = param in certain  # the complete data say it without error, and Q of these has no slope
        of_itself = (lambda p: placed_at(case, p).total(p)) if known else total
        step = direction(case.space, param, rng)
        of_q = of_itself or (lambda p: oracle.expectation(case.found, p, near))
        slope, q = (_slope(case, f, {param: step}) for f in (lambda p: case.fit(p).history_[0], of_q))
        if abs(slope - q) > SLOPE * (1 + abs(q)):  # a difference is no slope where what it is of bends (10^4 counts)
            slope, q = (_slope(case, f, {param: step}, True) for f in (lambda p: case.fit(p).history_[0], of_q))
        why = "complete data say it without error" if known else "where a latent lies may move with parameters"
        note = f"the slope of log p(x) itself: {why}" if of_itself else ""
        check = measured(name, param, abs(slope - q) / (1 + abs(q)), SLOPE, note)
        yield beside_rounding(case, check, (1 + abs(case.begun.history_[0])) / (SMALL * (1 + abs(q))))


def _slope(
    case: Case, f: Callable[[Mapping[str, Array]], float], way: Mapping[str, Array], twice: bool = False
) -> float:
    """The slope of a function of parameters at the start, along a way, by differences; of two steps, `twice`, that
    which they tend to (Richardson): what is left falls with the fourth power of the step."""

    def by(h: float) -> float:
        up, down = (f(case.space.at(case.start, {n: side * h * step for n, step in way.items()})) for side in (1, -1))
        return (up - down) / (2 * h)

    return (4 * by(SMALL) - by(2 * SMALL)) / 3 if twice else by(SMALL)


def certain_of(case: Case) -> tuple[str, ...]:
    """Parameters in parts without noise, which the likelihood alone moves."""
    updates = case.derived.updates
    return tuple(n for u in updates if isinstance(u.rule, Numeric) and u.rule.likelihood for n in u.params)


def ends_move(case: Case, oracle: Oracle) -> bool:
    """Whether what data leave to a latent is another interval at other parameters: thresholds."""
    there = placed_at(case, {n: case.space.at(case.start, {n: SMALL * direction(case.space, n, case.rng(7))})[n]
                           for n in case.start})  # fmt: skip
    return [c.ends for c in there.layout.cells] != [c.ends for c in oracle.layout.cells]


def log_likelihood_by(case: Case, placed: Oracle, anew: bool = False) -> Callable[[Mapping[str, Array]], float]:
    """log p(x), and the priors, by an oracle; by one for each point where ends move with the parameters, or `anew`."""
    if anew or ends_move(case, placed):
        return lambda params: placed_at(case, params).total(params)
    return placed.total


def direction(space: Any, param: str, rng: np.random.Generator) -> Array:
    try:
        return np.asarray(space.direction(param, rng))
    except (NotImplementedError, np.linalg.LinAlgError) as why:
        raise Unchecked(f"{param}: {why}") from None
