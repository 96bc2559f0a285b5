"""How latents are drawn, against the interpreter: densities that kernels move on, draws by elimination, whole sweeps.

A kernel leaves the posterior as it is if the density it moves on is the log joint's, but for what is constant there:
differences of the two are compared, point by point, with the stretch of the coordinates by differences. Draws by
elimination are compared with the oracle's moments given all else. Last, whole sweeps start from draws of the joint
(Geweke 2004): what they end with must be draws of the joint again. Every number here is drawn from a seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from emdsl.errors import DataError, EmdslError
from emdsl.families.scope import Array
from emdsl.fit.interpret import read_names
from emdsl.fit.sampling import variable_reads
from emdsl.fit.verify.case import Compiled, by_themselves
from emdsl.fit.verify.certificate import Check, largest, measured, reason, skipped
from emdsl.fit.verify.component import Tilt
from emdsl.fit.verify.oracle import Oracle
from emdsl.fit.verify.rare import hardly_shown
from emdsl.fit.verify.scores import scores
from emdsl.fit.verify.setting import draw
from emdsl.fit.verify.site import NAME, POINTS, SAME, Site, Values, oracle_of
from emdsl.fit.verify.steps import steps
from emdsl.fit.verify.world import Unchecked, World
from emdsl.runtime.data import faults
from emdsl.runtime.montecarlo.sampler import Target
from emdsl.runtime.numeric.numerics import honest

PLATES = (4, 3, 2)
ELEMENTS = 4  # of a plate, each moved by itself
STEP = 1e-5  # of differences, in coordinates without bounds
REPEATS, SITES = 300, 3  # draws by elimination, of each of some data
DOUBTFUL, AGAIN = 3.0, 4  # standard errors beyond which more of them tell, and how many times as many
STARTS, SWEEPS, FEW = 40, 3, 10  # of Geweke's test, and starts that are too few for a standard error
SLOPE, FALSE_ALARM = 1e-5, 5.0


def drawing(model: Compiled, given: Compiled, seed: int = 0) -> tuple[Check, ...]:
    """Every check of how the latents of a model are drawn; what no oracle reaches is said.

    given : the model in which they are data.
    """
    out: list[Check] = []
    parts: dict[str, Callable[[Compiled, int, int], Iterator[Check]]] = {"M-steps at draws": partial(steps, given)}
    parts["scores"] = at_draws
    for name, part in {**parts, "densities": densities, "eliminations": eliminations, "sweeps": sweeps}.items():
        for plates in PLATES:
            try:
                with np.errstate(all="ignore"):
                    found = list(part(model, seed, plates))
            except (Unchecked, EmdslError, faults.DataError, NotImplementedError) as why:
                found = [skipped(NAME, name, reason(why))]
                continue
            except Exception as error:  # noqa: BLE001  (whatever the derivation or its module raises is a failed check)
                found = [Check(NAME, name, "failed", note=f"{type(error).__name__}: {error}")]
            break
        out += found
    return tuple(out)


def at_draws(model: Compiled, seed: int, plates: int) -> Iterator[Check]:
    """The density of data and draws, and its scores."""
    assert model.derived.draws is not None
    yield from scores(NAME, Site.of(model, seed, plates), model.derived.draws.latents, seed, plates, SAME)


def densities(model: Compiled, seed: int, plates: int) -> Iterator[Check]:
    """Densities of draws, of all latents that are drawn and of each group that a kernel moves, and their slopes."""
    site, rng = Site.of(model, seed, plates), np.random.default_rng([seed, 40])
    by_themselves(site.world.model)
    groups, mine = site.module.groups(), model.derived.draws
    held = [n for n in site.world.latents if n in mine.latents]
    others = [draw(site.world.model, 7000 + POINTS * seed + k, plates).latents for k in range(POINTS)]
    far = _units(site, held, [{**site.world.latents, **{n: there[n] for n in held}} for there in others])
    if far is None:
        yield skipped(NAME, "density of all draws", "none is told of the whole, or other draws have none")
    else:
        yield measured(NAME, "density of all draws", far, SAME)
    for group in groups:
        if group.kernel is None:
            continue
        names = [c.name for c in group.coordinates]
        apart = next(g.collapsed for g in mine.groups if set(g.latents) == set(names))
        target = site.chain(site.world.latents, rng).target(group, site.params)
        of = ", ".join(names)
        given = held if apart else [n for n in site.world.latents if n not in model.derived.joint.tails]
        far = _one_by_one(site, target, given, rng)
        yield measured(NAME, f"density of {of}", far, SAME)
        if target.slope is not None:
            yield measured(NAME, f"slope of {of}", _slope(site, target, rng), SLOPE)


def _units(site: Site, held: Sequence[str], points: Sequence[Values]) -> float | None:
    """How far the density of all draws is from the log joint, in differences between points; None where it is none."""

    def both(values: Values) -> Array | None:
        there = {**site.prepared, **site.stored(values)}
        found = site.module.log_density_units(site.params, there)
        return None if found is None else np.array([np.sum(found), site.log_joint(held, values)])

    start = both(site.world.latents)
    if start is None:
        return None
    ends = [np.asarray(both(p)) - start for p in points]
    return max((_apart(*e) for e in ends if np.isfinite(e).any()), default=None)


def _apart(mine: float, theirs: float) -> float:
    mine = float(honest(mine))
    return float(abs(mine - theirs) / (1 + abs(theirs))) if mine != theirs else 0.0


def _one_by_one(site: Site, target: Target, held: Sequence[str], rng: np.random.Generator) -> float:
    """Each element is moved by itself: its own density changes as the log joint does, and no other's."""
    start = target.points(site.stored(site.world.latents))
    before, joint = target.density(start), site.log_joint(held, site.world.latents)
    counts = any(c.domain == "count" for c in target.coordinates)  # between them there is no density
    far = 0.0
    for k in range(min(ELEMENTS, start.shape[1])):
        moved = start.copy()
        moved[:, k] += rng.integers(1, 3, len(start)) if counts else rng.normal(0, 0.7, len(start))
        after = target.density(moved) - before
        values = site.shown({**site.stored(site.world.latents), **target.values(moved)})
        wanted = site.log_joint(held, values) - joint
        wanted += _stretch(target, moved, k) - _stretch(target, start, k)
        far = largest(far, _apart(float(after[k]), wanted), float(np.abs(np.delete(after, k)).max(initial=0.0)))
    return far


def _stretch(target: Target, points: Array, k: int) -> float:
    """log of the volume of values that a volume of one element's free coordinates is taken to, by differences."""
    columns = []
    for j in range(len(points)):
        step = np.zeros_like(points)
        step[j, k] = STEP
        ends = [np.concatenate([np.ravel(v) for v in _independent(target, points + s * step)]) for s in (1, -1)]
        columns.append((ends[0] - ends[1]) / (2 * STEP))
    table = np.array(columns)
    touched = table[:, np.abs(table).max(0) > 0]
    if touched.shape[1] != len(points):
        raise Unchecked("the coordinates of a kernel are not those of one element")
    return float(np.linalg.slogdet(touched)[1])


def _independent(target: Target, points: Array) -> list[Array]:
    """The numbers of the values that the others do not settle: all but the last of probabilities."""
    values = target.values(points)
    return [values[c.name][:-1] if c.domain == "simplex" else values[c.name] for c in target.coordinates]


def _slope(site: Site, target: Target, rng: np.random.Generator) -> float:
    """The gradient against differences of the density, along directions in all elements at once."""
    start = target.points(site.stored(site.world.latents))
    far = 0.0
    for _ in range(POINTS):
        here, along = start + rng.normal(0, 0.3, start.shape), rng.normal(size=start.shape)
        rise = (target.density(here + STEP * along) - target.density(here - STEP * along)) / (2 * STEP)
        slope = (target.gradient(here) * along).sum(0)
        inside = np.isfinite(honest(target.density(here)))  # where data cut an element there is none to compare
        far = largest(far, float((np.abs(slope - rise) / (1 + np.abs(rise)))[inside].max(initial=0.0)))
    return far


def eliminations(model: Compiled, seed: int, plates: int) -> Iterator[Check]:
    """Draws by elimination given all else: their frequencies, means and log joint, in standard errors, on several data,
    of which some leave hardly a choice."""
    far: dict[str, float] = {}
    led: list[str] = []
    for k in range(SITES):
        try:
            site = Site.of(model, SITES * seed + k, plates)
            for group in (g for g in site.module.groups() if g.kernel is None):
                figure, names = _drawn_by(group, model, site, np.random.default_rng([seed, 41, k]))
                of = f"{REPEATS} draws of {', '.join(names)}"
                if figure is None:
                    led.append(of)
                else:
                    far[of] = largest(far.get(of, 0.0), figure)
        except (DataError, faults.DataError, Unchecked):
            if not k:
                raise
    for of, figure in far.items():
        yield measured(NAME, of, figure, FALSE_ALARM, "standard errors")
    for of in dict.fromkeys(o for o in led if o not in far):
        yield skipped(NAME, of, "all of it follows from data and the others")


def _drawn_by(group: Any, model: Compiled, site: Site, rng: np.random.Generator) -> tuple[float | None, list[str]]:
    """How far draws of a group are from what the oracle says of it, and what they are of; None where there is no
    choice, as of one of two numbers whose sum was seen. Raises Unchecked."""
    tails = model.derived.joint.tails  # integrated out, whatever is drawn
    start = site.stored(site.world.latents)
    names = list(group.draw(site.params, {**site.prepared, **start}, rng))
    if set(names) != set(group.names.split(", ")):
        return np.inf, names  # another is drawn in its place
    by_themselves(site.world.model)
    others = [n for n in site.world.latents if n not in _led_by(names, site.world)]
    given = [n for n in others if n not in tails]
    oracle, held = oracle_of(site.beside(given, site.world.latents), site.params)
    mine = [k for k, cell in enumerate(oracle.layout.cells) if cell.latent not in tails]
    if not oracle.layout.cells:
        return None, names
    far = [0.0]
    for repeats in (REPEATS, AGAIN * REPEATS):
        found = [group.draw(site.params, {**site.prepared, **start}, rng) for _ in range(repeats)]
        draws = [site.shown({**start, **d}) for d in found]
        far = [_moments(oracle, held, k, draws) for k in mine]
        if given == others:
            log_p = np.array([site.world.rows(site.params, d).sum() for d in draws])
            marginals = [oracle.marginal(held, k) for k in mine if oracle.layout.cells[k].levels is not None]
            unseen = sum(_of_rare(m, repeats) for m in marginals)
            far.append(_errors(log_p, oracle.expectation(held, site.params), unseen))
        if largest(*far) <= DOUBTFUL:
            break
    return largest(*far), names


def _led_by(names: Sequence[str], world: World) -> set[str]:
    """These latents, and those without noise of their own that follow from them."""
    found = set(names)
    while more := {
        n for n in world.held if n not in found and variable_reads(world.model.variable(n), world.model) & found
    }:
        found |= more
    return found


def _moments(oracle: Oracle, found: Any, k: int, draws: Sequence[Values]) -> float:
    """One cell's frequencies, or mean and square, in standard errors."""
    cell, wanted = oracle.layout.cells[k], oracle.marginal(found, k)
    numbers = (oracle.layout.world.numbers(cell.latent, np.asarray(d[cell.latent])) for d in draws)
    values = np.array([np.ravel(n)[cell.at] for n in numbers], float)
    if cell.levels is None and cell.atoms:
        share = oracle.moment(found, Tilt(k, ~np.isin(oracle.layout.nodes[k], cell.atoms) * 1.0))
        if hardly_shown(np.array([share]), len(values))[0]:  # of a value apart from these draws tell how often alone
            off = abs((~np.isin(values, cell.atoms)).mean() - share)
            return float(off / (np.sqrt(share * (1 - share) / len(values)) + 0.2 / len(values)))
    if cell.levels is None:
        return largest(_errors(values, wanted[0]), _errors((values - wanted[0]) ** 2, wanted[1]))
    spread = np.sqrt(wanted * (1 - wanted) / len(values)) + 0.2 / len(values)
    off = np.array([(values == level).mean() for level in range(cell.levels)]) - wanted[: cell.levels]
    return float((np.abs(off) / spread[: cell.levels]).max())


def _of_rare(marginal: Array, repeats: int) -> float:
    """What levels that so few draws hardly show add to the mean of log p: it is log q and a constant, all else held."""
    rare = marginal[hardly_shown(marginal, repeats)]
    return float(-(rare * np.log(rare)).sum())


def _errors(values: Array, wanted: float, unseen: float = 0.0) -> float:
    """How many standard errors a mean is from what it should be, of which draws may leave out what is `unseen`."""
    error = values.std(ddof=1) / np.sqrt(len(values)) + unseen + 1e-9 * (1 + abs(wanted))
    return float(abs(values.mean() - wanted) / error)


def sweeps(model: Compiled, seed: int, plates: int) -> Iterator[Check]:
    """Whole sweeps from draws of the joint: what they leave is compared with where each began. Raises Unchecked."""
    latents = {v.name for v in model.resolved.of_kind("latent")}
    if any(read_names(p.expression, model.resolved) & latents for p in model.resolved.potentials):
        raise Unchecked("a factor holds latents, and nothing draws from such a joint")
    moved: dict[str, list[float]] = {}
    rng = np.random.default_rng([seed, 42])
    last: Exception | None = None
    for start in range(STARTS):
        try:
            site = Site.of(model, 5000 + STARTS * seed + start, plates)
        except (DataError, faults.DataError) as why:  # data drawn that the model refuses: one value, or rounded to 1
            last = why
            continue
        chain = site.chain(site.world.latents, rng)
        chain.sweep(site.params)
        chain.draws = site.stored(site.world.latents)
        chain.stop_tuning()
        for _ in range(SWEEPS):
            chain.sweep(site.params)
        swept = [
            n for n in site.kept if n in site.world.latents and any(n in g.names.split(", ") for g in chain.groups)
        ]
        before, after = (_facts(site, swept, v) for v in (site.world.latents, site.shown(chain.draws)))
        for n, value in after.items():
            moved.setdefault(n, []).append(value - before[n])
    if last is not None and not moved:
        raise Unchecked(reason(last))
    for n, by in moved.items():
        off = np.array(by)
        if len(off) <= FEW:
            yield skipped(NAME, f"sweeps leave {n}", f"of {STARTS} data drawn {len(off)} are taken")
            continue
        figure = _errors(off, 0.0)
        yield measured(NAME, f"sweeps leave {n}", figure, FALSE_ALARM, "standard errors")


def _facts(site: Site, swept: Sequence[str], values: Values) -> dict[str, float]:
    """Bounded statistics of what a sweep draws, and of how it stands to the data: means of a few draws are normal."""
    out = {}
    if set(swept) >= set(site.world.latents):
        out["the log joint"] = float(np.tanh(site.world.rows(site.params, values).mean()))
    for n in swept:
        flat = np.tanh(np.ravel(np.asarray(values[n], float)))
        out[n] = float(np.mean(flat))
        out[f"{n} beside its neighbour"] = float(np.mean(flat[1:] * flat[:-1])) if flat.size > 1 else 0.0
    return out
