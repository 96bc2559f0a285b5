"""The theorem as a test: the log joint is `<T, eta>` plus what does not hold the block, for every block.

At random points the interpreter's log joint, which shares no code with the derivation, equals the
sum of the factors, of the opened terms, of each block's statistics against natural parameters, and of Q
where the posterior is a point; and for each parameter, of its terms and those without it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from algebra import World, dimensions, rows
from gallery import compiled, written
from structures import chains, networks
from test_unusual import CASES
from tied_states import tied

from emdsl.derive.algebra import expr as x
from emdsl.derive.joint.centre import of_one_number
from emdsl.derive.joint.coefficients import about
from emdsl.derive.joint.constraints import without_multipliers
from emdsl.derive.joint.joint import LogJoint
from emdsl.derive.joint.terms import Term
from emdsl.derive.plan import Plan
from emdsl.derive.posteriors.block import Block
from emdsl.derive.posteriors.roles import Across, Monomial, Role
from emdsl.derive.updates.statistics import Statistic
from emdsl.errors import EmdslError
from emdsl.fit.interpret import log_joint, model_scope
from emdsl.fit.sampling import sample
from emdsl.fit.verify.setting import Setting, plausible, sized, unfactored
from emdsl.language.model import ModelText
from emdsl.report.equations import readable
from emdsl.report.folded import Meaning, folded
from emdsl.report.together import Together, means_of_products
from emdsl.report.typeset import typeset
from emdsl.report.unopened import unopened

GALLERY = {p.stem: p.read_text(encoding="utf-8") for p in sorted((Path(__file__).parents[1] / "models").glob("*.em"))}
TEXTS = GALLERY | {case.name: case.text for case in (*chains.CASES, *networks.CASES, *CASES)}
TEXTS["densities that stay whole"] = """model Whole
param beta  : real[2]
param gamma : real[2]
param fall  : positive
for n in N:
    given x[n]      : real[2]
    given t[n]      : positive
    let   start[n]  = x[n] @ beta
    let   spread[n] = exp(x[n] @ gamma)
    let   curve[n]  = start[n] * exp(-fall * t[n]) + 1
    observed y[n] ~ Normal(curve[n], spread[n])
"""

HELD = {"arma": 3.5}  # of four rows three hold a constraint, a 1 / 2 pi each; the first has a normal density

STATISTICS = {
    "id": lambda u: u, "square": lambda u: u * u, "recip": lambda u: 1 / u, "log": math.log, "exp": math.exp,
    "cos": math.cos, "sin": math.sin, "log1m": lambda u: math.log1p(-u), "log^2": lambda u: math.log(u) ** 2,
}  # fmt: skip


@dataclass(frozen=True)
class Point:
    """A model at one point: its plan, the values of everything, the log joint there."""

    model: ModelText
    setting: Setting
    values: Mapping[str, Any]
    missing: Mapping[str, Any]
    value: float


@cache
def planned(name: str) -> Plan:
    """The plan, in the coordinates it was derived in."""
    return (compiled(name) if name in GALLERY else written(TEXTS[name])).derived


@cache
def point(name: str, gaps: bool) -> Point:
    """Parameters from their domains, data and latents drawn there; with gaps, a third of the data missing."""
    joint = planned(name).joint
    model = without_multipliers(joint.model)
    s = plausible(sized(model), 3)
    counts = {
        v.name: np.full([d.value(s.sizes) for d in v.shape], 2) for v in model.of_kind("observed") if v.domain.dims
    }
    drawn = sample(unfactored(model), s.params, s.sizes, 3, {**counts, **s.givens}, s.lengths)
    scope = model_scope(model, {**s.params, **s.givens, **drawn}, s.sizes, s.lengths)
    missing = {}
    rng = np.random.default_rng(7)
    read = {n for f in joint.factors for e in (f.body, *f.masks) for n in _read(e, f.about)}
    for v in model.of_kind("observed") if gaps else ():
        if v.name in read:  # a missing value that others are given by is no gap
            continue
        array = np.asarray(drawn[v.name])
        own = array.ndim - _axes(v.name, joint)
        gone = rng.random(array.shape[: array.ndim - own]) < 1 / 3
        missing[v.name] = np.broadcast_to(gone.reshape(gone.shape + (1,) * own), array.shape)
    value = log_joint(model, scope.values, s.sizes, s.lengths, missing)
    held = {n: np.zeros([d.value(s.sizes) for d in joint.model.variable(n).shape]) for n in joint.multipliers}
    value -= HELD.get(name, 0.0) * math.log(2 * math.pi)
    return Point(model, s, {**scope.values, **held}, missing, value)


def _read(e: x.Expr, about: str) -> set[str]:
    """What a density is given, other than at its own place."""
    shifted = {n.var for n in x.walk(e) if isinstance(n, x.El) and any(isinstance(i, x.DataIx) for i in n.idx)}
    return {n for n in x.variables(e) if n != about} | shifted


def _axes(name: str, joint: LogJoint) -> int:
    """How many axes a presence mask has."""
    masks = (c for f in joint.factors for c in f.masks)
    return min(len(c.idx) for c in masks if isinstance(c, x.El) and c.var == f"present:{name}")


def world(plan: Plan, p: Point) -> World:
    """Everything that the plan's expressions can name: values, presence, posteriors that are points."""
    lengths = dimensions(p.model, p.setting.sizes, p.setting.lengths)
    arrays: dict[str, Any] = {n: np.asarray(v, float) for n, v in p.values.items()}
    lengths |= {c.dimension: 2 for c in plan.joint.clouds}
    for name, levels in plan.joint.levels.items():
        lengths.setdefault(levels, int(arrays[name].max()) + 1)
    for name, each in p.setting.lengths.items():
        arrays |= rows(name, each)
    arrays |= {n: np.asarray(v, float) for n, v in plan.joint.tables.items()}
    out = World(lengths, arrays)
    _centre(plan, out)
    _at_the_second_of_two_points(plan, out)
    for v in p.model.of_kind("observed"):
        gone = p.missing.get(v.name)
        if gone is not None:
            arrays[v.name] = np.where(gone, 0.0, arrays[v.name])
        arrays[f"present:{v.name}"] = _presence(gone)
    for block in plan.elimination.blocks:
        arrays[f"q:{block.name}"] = _probability(block, out)
        arrays[f"A:{block.name}"] = _message(block, out)
        arrays |= tied(block, plan, out)
        arrays[f"location:{block.name}"] = _moment(
            block, lambda u: u, out
        )  # of a Gaussian whose scale is another latent
        arrays[f"variance:{block.name}"] = arrays[f"fit:{block.name}"] = lambda *at: 0.0
        if block.gaussian is not None:
            arrays |= {k: v for n in block.latents for k, v in _sharp(block, n, out).items()}
        for kind, function in STATISTICS.items():
            arrays[f"E:{block.name}:{kind}"] = _moment(block, function, out)
    arrays[":weight"] = lambda i: 1.0
    for s in plan.expected.statistics:
        arrays[f"S:{s.name}"] = _statistic(s, out)
    for t in means_of_products(plan):
        arrays[t.whole.var] = partial(_sum_of_parts, t, out)
    return out


def _sum_of_parts(t: Together, w: World, *at: int) -> float:
    return w.value(x.add(t.first, t.second), dict(zip(t.whole.idx, at, strict=True)))


def _statistic(s: Statistic, w: World) -> Any:
    inner = [i for i in s.ixs if i not in s.axes]

    @cache  # of data and latents alone, which a change of the parameters leaves as they are
    def statistic(*at: int) -> float:
        return w.total(1, s.factors, inner, dict(zip(s.axes, at, strict=True)))

    return statistic


def _centre(plan: Plan, w: World) -> None:
    """Data and parameters in the plan's own coordinates, about reference points at random."""
    rng = np.random.default_rng(11)
    for name in plan.centred:
        alike = name in of_one_number(plan.shifts)  # one point for all entries of a vector
        own = 0 if alike else len(plan.joint.model.variable(name).domain.dims)
        array = w.arrays[name]
        at = rng.normal(size=array.shape[array.ndim - own :])
        w.arrays[f"reference:{name}"] = at
        w.arrays[name] = array - at
    for plane in plan.planes:
        at = rng.normal(size=[w.arrays[plane.param].shape[n] for n in plane.slots])
        w.arrays[f"reference:{plane.param}"] = at
        w.arrays[plane.data] = w.arrays[plane.data] - w.arrays[plane.design] @ at
    for design in plan.designs:  # as if its first column were of ones
        columns = w.arrays[design.data].shape[-1]
        held = np.zeros((columns, columns))
        held[0, 1:] = rng.normal(size=columns - 1)
        w.arrays[f"mixing:{design.data}"] = held
        w.arrays[design.data] = w.arrays[design.data] + w.arrays[design.data] @ held
    waiting = dict(plan.shifts)
    while waiting:  # what a shift is written in moves first
        name = next(n for n, s in waiting.items() if not (x.variables(s.value) - {n}) & set(waiting))
        shift = waiting.pop(name)
        array = np.array(w.arrays[name], float)
        for at in reversed([*np.ndindex(array.shape)]):  # coefficients are shifted by those of higher powers
            array[at] -= w.value(shift.value, dict(zip(shift.axes, at, strict=True)))
            w.put(name, array)


def _at_the_second_of_two_points(plan: Plan, w: World) -> None:
    """Clouds of two points: the first is elsewhere, the second is the latents' values, and they are at that one."""
    for c in plan.joint.clouds:
        for n in c.latents:
            there = w.arrays[n]
            w.arrays[f"at:{n}"] = np.stack([0.5 * there, there])
        home = len(plan.joint.model.variable(c.name).plates)
        shape = w.arrays[c.name].shape[:home]
        w.arrays[c.name], w.arrays[f"volume:{c.name}"] = np.ones(shape), np.zeros((2, *shape))


def _presence(gone: Any) -> Any:
    def present(*at: int) -> float:
        return 1.0 if gone is None else float(not np.any(gone[at]))

    return present


def _places(block: Block, at: Sequence[int], axes: Sequence[x.Ix]) -> dict[x.Ix, int]:
    return dict(zip(axes, at, strict=True))


def _probability(block: Block, w: World) -> Any:
    """1 where the states and the neighbours' gates are what they are."""

    def q(*at: int) -> float:
        here = _places(block, at, (*block.states, *block.gates, *_plates(block)))
        own = (x.Sel(x.El(n, block.home), s) for n, s in zip(block.latents, block.states, strict=False))
        return w.product([*own, *block.neighbours], here)

    return q


def _moment(block: Block, function: Any, w: World) -> Any:
    def moment(*at: int) -> float:
        return float(function(float(w.arrays[block.name][at[len(block.gates) :]])))

    return moment


def _sharp(block: Block, name: str, w: World) -> Mapping[str, Any]:
    """A Gaussian latent whose posterior is a point: its mean is its value, its covariances are none."""
    out: dict[str, Any] = {f"mean:{name}": lambda *at: float(w.arrays[name][at[len(block.gates) :]])}
    out |= {f"cov:{name}:{b}": lambda *at: 0.0 for b in block.latents}
    ties = () if block.field is None else block.field.ties
    return out | {f"cov:{':'.join(t.latents)}:{k}": lambda *at: 0.0 for k, t in enumerate(ties)}


def _held(block: Block, role: Role) -> list[x.Expr]:
    """The elements of Gaussian latents that a term of this role multiplies."""
    assert block.gaussian is not None
    homes: Any = dict.fromkeys(block.latents, block.home) if block.field is None else block.field.homes
    if isinstance(role, Across):
        assert block.field is not None
        tie = block.field.ties[role.tie]
        names, places = list(tie.latents), list(tie.places)
    else:
        assert isinstance(role, Monomial)
        names = list(role.latents)
        places = [homes[n] for n in names]
    axes = (block.gaussian.rows, block.gaussian.columns)
    return [x.El(n, (*p, *a[n])) for n, p, a in zip(names, places, axes, strict=False)]


def _plates(block: Block) -> tuple[x.Ix, ...]:
    """The plates over which a block's log-normaliser is given: of a field, those of its parts."""
    return block.home if block.field is None else block.field.outer


def _in_part(block: Block, role: Role) -> list[x.Expr]:
    """1 where the elements of a term of a field lie in the part that is asked for."""
    if block.field is None:
        return []
    if isinstance(role, Monomial):
        name = role.latents[0]
        home = place = block.field.homes[name]
    else:
        assert isinstance(role, Across)
        tie = block.field.ties[role.tie]
        near = 1 if tie.places[0] and isinstance(tie.places[0][-1], x.DataIx) else 0  # not the one that lies behind
        home, place = block.field.homes[tie.latents[near]], tie.places[near]
        name = tie.latents[near]
    inside = x.substitute(x.El("", block.field.inside[name]), dict(zip(home, place, strict=True)))
    return [x.fn("eq", x.value_of(i), x.Val(o)) for i, o in zip(inside.idx, block.field.outer, strict=True)]


def _message(block: Block, w: World) -> Any:
    """`<T, eta>` of the block and its terms without it, at the latents' values: what its log-normaliser stands for."""

    def message(*at: int) -> float:
        here = _places(block, at, (*block.gates, *_plates(block)))
        for n, s in zip(block.latents, block.states, strict=False):
            here[s] = int(w.value(x.El(n, block.home), here))
        total, eta = 0.0, {"id": 0.0, "square": 0.0}
        for k, t in enumerate(block.terms):
            inner = [i for i in t.ixs if i not in here]
            role: Role = block.roles[k] if block.roles else ""
            factors = list(t.factors)
            if block.normalised:
                eta[str(role)] += w.total(t.coef, factors, inner, here)
            if role and block.gaussian is not None:
                factors += [*_held(block, role), *_in_part(block, role)]
            elif role:
                factors.append(x.El(f"E:{block.name}:{role}", (*block.gates, *block.home, *block.own)))
                factors += [block.scale] if block.scale is not None else []
            total += w.total(t.coef, factors, inner, here)
        if block.scale is not None:  # its message holds half the logarithm of the scale beside
            total += math.log(w.value(block.scale, here)) / 2
        if eta["square"]:  # a density that is cut: its constants are those of the Normal with these parameters
            total += eta["id"] ** 2 / (4 * eta["square"]) + 0.5 * math.log(-eta["square"] / math.pi)
        return total

    return message


def total(terms: Sequence[Term], w: World) -> float:
    return sum(w.total(t.coef, (*t.gates, *t.factors), t.ixs) for t in terms)


def close(found: float, wanted: float) -> bool:
    return found == wanted or abs(found - wanted) <= 1e-9 * (1 + abs(wanted))


@pytest.mark.parametrize("name", TEXTS)
def test_theorem_with_gaps(name: str) -> None:
    theorem(name, True)


@pytest.mark.parametrize("name", GALLERY)
def test_theorem(name: str) -> None:
    theorem(name, False)


def theorem(name: str, gaps: bool) -> None:
    plan = planned(name)
    if plan.elimination.parts:
        pytest.skip("mean-field: its terms are averaged under several factors, tested in test_meanfield")
    try:
        p = point(name, gaps)
    except EmdslError as error:
        pytest.skip(f"not sampled here: {error}")
    for view in (plan, readable(plan)) if plan.shifts else (plan,):
        w = world(view, p)
        factors = sum(w.total(1, (*f.gates, *f.masks, f.body), f.plates) for f in view.joint.factors)
        assert close(factors, p.value), ("factors", factors, p.value)
        opened = total([t for t, _ in view.elimination.terms], w)
        assert close(opened, p.value), ("terms", opened, p.value)
        eliminated = total((*view.elimination.free, *view.elimination.prior), w)
        assert close(eliminated, p.value), ("blocks", eliminated, p.value)
        _averaged(view, w, p.value)
        _left_whole(view, w)


def _averaged(plan: Plan, w: World, value: float) -> None:
    """Q at a posterior that is a point, with the terms that hold no parameter; then parameter by parameter."""
    params = {v.name for v in plan.joint.model.of_kind("param")}
    q = plan.expected
    mine = (*q.terms, *q.prior)
    constant = [t for t, _ in plan.elimination.terms if not _holds(t, params)]
    mixed = total([m.term for m in q.mixed], w)
    whole, rest = total(mine, w), total(constant, w) + mixed
    assert close(whole + rest, value), ("Q", whole + rest, value)
    other = plausible(sized(plan.joint.model), 4).params
    for name in sorted(params):
        held = about(mine, frozenset((name,)), q.symmetry)
        before = total(held, w) - whole
        kept = w.arrays[name]
        w.put(name, np.asarray(other[name], float))
        after = total(held, w) - total(mine, w)
        w.put(name, kept)
        assert close(before, after), (name, before, after)


def _left_whole(plan: Plan, w: World) -> None:
    """Q with densities left whole is Q opened but for what holds no parameter; `let`s say what they say."""
    q, found, meanings = plan.expected, unopened(plan), typeset(plan).known.meanings
    if found is None:
        return
    w.arrays |= {m.name: partial(_meant, m, w) for m in meanings if not m.mean}
    other, differences = plausible(sized(plan.joint.model), 4).params, []
    for values in ({}, other):
        for v in plan.joint.model.of_kind("param"):
            w.put(v.name, np.asarray(values.get(v.name, w.arrays[v.name]), float))
        named = [replace(t, factors=tuple(folded(f, meanings) for f in t.factors)) for t in found.densities]
        whole = total((*found.terms, *named), w)
        differences.append(whole - total((*q.terms, *(m.term for m in q.mixed)), w))
    assert close(*differences), differences


def _meant(m: Meaning, w: World, *at: int) -> float:
    return w.value(m.body, dict(zip(m.home, at, strict=True)))


def _holds(t: Term, names: set[str]) -> bool:
    return any(names & x.variables(f) for f in t.factors)
