"""The bound of mean-field against what it is by definition: the mean of log p - log q over draws from q.

log p is the interpreter's; q is what `posterior_` tells, family by family; of the plan it is only asked which latents
are drawn one by one, and of which family each is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import scipy  # whose parts load where they are first read: few models need its families

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.made import AT
from emdsl.derive.joint.substituted import as_lets
from emdsl.errors import DataError
from emdsl.families.scope import Array
from emdsl.fit.fitter import DegenerateError
from emdsl.fit.verify.blur import PLACES, params_beside, within
from emdsl.fit.verify.case import Case, far_out
from emdsl.fit.verify.cells import cells_of
from emdsl.fit.verify.certificate import Check, measured, reason, skipped
from emdsl.fit.verify.checks import SMALL, direction
from emdsl.fit.verify.gaps import is_read
from emdsl.fit.verify.holes import with_holes
from emdsl.fit.verify.m_step import held
from emdsl.fit.verify.moved import moves
from emdsl.fit.verify.setting import Drawn, draw, flat
from emdsl.fit.verify.space import Space
from emdsl.fit.verify.world import Unchecked, World

DRAWS, STEPS, WIDE = 1000, 1, 0.5  # few steps: later factors are more certain, and tell less apart
ROWS = 5  # of a plate
CLIMB, SAME = 4, 1e-9  # steps beside gaps; rounding of a bound
SETTLED = (4000, 16_000)  # draws that tell whether a factor goes with anything; more where it seems to
BESIDE = 2e-3  # five of these are a gain of 5e-5 of the bound
TRIES = 12  # data that the model refuses are drawn again
Fields = Mapping[str, Array]
Draw = tuple[Array, Array]  # (draws, ...) values of all elements, and (draws,) log q of each
Kind = Callable[[Fields, int, np.random.Generator], Draw]
NAME = "the bound is the mean of log p - log q"
ON_AVERAGE = "M-step: the mean of log p over draws of q is level"
SHOWN = 5  # of the draws, at the least, for a standard error to tell of a level
SWEEPS, RESTS = 40, 1e-11  # how often q is made anew, until the bound is the same but for its last digits
LEVEL = 1e-6  # of slopes: what differences leave where no draw moves them
BELOW = "the bound is no more than the mean of log p - log q"


def bound(case: Case) -> Iterator[Check]:
    """The objective after some sweeps, in standard errors of the mean over draws from the factors of q."""
    if not case.model.derived.elimination.parts:
        raise Unchecked("the objective is no bound")
    drawn, fit = _fitted(case)
    yield from _compared(case, drawn, fit)
    try:
        yield from _stationary(case, drawn)
    except Unchecked as why:  # the checks with gaps are made all the same
        yield skipped(ON_AVERAGE, "", str(why))
    for c in _with_gaps(case, drawn):
        yield replace(c, name=f"{c.name}, with gaps")


def _with_gaps(case: Case, drawn: Drawn) -> Iterator[Check]:
    """The same where a quarter of the data is missing, of which the log joint of the interpreter has no terms."""
    mine = case.world.model.of_kind("observed")
    if vectors := [v.name for v in mine if v.domain.dims]:
        yield skipped(NAME, f"some cells of {', '.join(vectors)}", "they are in q with what they belong to")
    gapped = with_holes(mine, drawn, True, case.rng(15))
    try:
        climb = case.fit(drawn.setting.params, CLIMB, gapped, policy="keep")
        if climb.status_ == "decreased":
            yield Check("EM climbs", f"step {len(climb.history_)}", "failed", note=climb.message_)
        else:
            falls = np.maximum(0.0, -np.diff(climb.history_)) / (1 + abs(climb.history_[-1]))
            yield measured("EM climbs", f"{CLIMB} steps", falls.max(initial=0.0), SAME)
        yield from _compared(case, gapped, case.fit(drawn.setting.params, STEPS, gapped))
        yield from _stationary(case, gapped)
    except (Unchecked, DataError) as why:  # other densities read what is missing
        yield skipped(NAME, "", reason(why))
    except DegenerateError as why:
        yield skipped(NAME, "", f"a fit collapses: {reason(why)}")


def _compared(case: Case, drawn: Drawn, fit: Any) -> Iterator[Check]:
    """The objective of a fit, and its factors, against the log joint at draws from these. Raises Unchecked."""
    parts = case.model.derived.elimination.parts
    world = World.of(as_lets(case.world.model), drawn)  # functions of latents are no factors of q
    params = {n: np.asarray(v, float) for n, v in fit.params_.items()}
    unnamed = case.model.derived.joint.unnamed  # which addend an event is of: they leave the bound below that mean
    blocks = [b for p in parts for b in p.blocks if not unnamed & set(b.latents)]
    blocks.sort(key=lambda b: b.scale is not None)  # after their scales
    found = _ratios(blocks, fit.posterior_, world, params, DRAWS, case.rng(9)).off
    error = float(found.std(ddof=1) / np.sqrt(DRAWS))
    if not error < WIDE:
        raise Unchecked(f"draws of log p - log q have a standard error of {error:.2g}")
    # a bound that is exact has no error but rounding
    far = (fit.objective_ - float(found.mean())) / max(error, 1e-9 * (1 + abs(fit.objective_)))
    far = max(far, 0.0) if unnamed else abs(far)
    yield measured(BELOW if unnamed else NAME, f"{DRAWS} draws, standard error {error:.1g}", far, 5.0)
    if hasattr(fit._module, "whole_bound"):  # what weighs factors that no sweep has made
        check = measured(NAME, "term by term as after a sweep", abs(_from_whole(world, fit)), SAME)
        if check.status == "failed":  # terms may be large, as beside a scale that collapses
            places = (params_beside(case, params, case.rng(90 + k), SAME) for k in range(PLACES))
            check = within(check, float(np.ptp([_from_whole(world, case.fit(at, 0, drawn)) for at in places])))
        yield check
    if not unnamed:
        yield from _settled(blocks, fit, world, params, case)


def _from_whole(world: World, fit: Any) -> float:
    """The bound as a sweep tells it, less the one added up term by term, of 1 + |bound|."""
    whole = fit._module.whole_bound(fit.params_, *fit._training[1:])
    priors = world.priors({n: np.asarray(v, float) for n, v in fit.params_.items()})
    return float((fit.objective_ - priors - whole) / (1 + abs(whole)))


def _stationary(case: Case, drawn: Drawn) -> Iterator[Check]:
    """The M-step is where the mean of the interpreter's log joint over draws from q before it is level. Raises
    Unchecked."""
    start = {n: np.asarray(v, float) for n, v in drawn.setting.params.items()}
    if not start or case.model.derived.joint.unnamed:  # which addend an event is of: Q is of more than this log joint
        return
    if moves(case):
        yield skipped(ON_AVERAGE, "", "where a latent is measured from moves with parameters, and so does q")
        return
    world = World.of(as_lets(case.world.model), drawn)
    gapped = [v for v in world.model.of_kind("observed") if np.isnan(np.asarray(drawn.data[v.name], float)).any()]
    if lost := [v.name for v in gapped if is_read(v, world)]:
        yield skipped(ON_AVERAGE, "", f"what is missing of {lost[0]}, which others read, is in q, and its terms in Q")
        return
    begun = _at_rest(case, start, drawn)
    after = case.fit({**start, **begun.posterior_}, 1, drawn)
    blocks = sorted(
        (b for p in case.model.derived.elimination.parts for b in p.blocks), key=lambda b: b.scale is not None
    )
    found = _ratios(blocks, begun.posterior_, world, start, DRAWS, case.rng(17)).values
    values = {n: v.reshape(DRAWS, *world.latents[n].shape) for n, v in found.items()}
    told = {n: np.asarray(v) for n, v in begun.posterior_.items() if not isinstance(v, Mapping)}
    unseen = sum(float(v[(v > 0) & (v * DRAWS < SHOWN)].sum()) for v in told.values())
    if (
        unseen
    ):  # levels that so few draws hardly show: what they do to a slope is told by others, at which they are as likely
        even = {n: (v + 1 / v.shape[-1]) / 2 for n, v in told.items()}
        wide = _ratios(blocks, {**begun.posterior_, **even}, world, start, DRAWS, case.rng(19)).values
        rare = {n: v.reshape(DRAWS, *world.latents[n].shape) for n, v in wide.items()}
    step = {n: np.asarray(v, float) for n, v in after.params_.items()}
    space = Space.of(case.world.model.of_kind("param"), world.scope, start)
    there = replace(case, drawn=drawn, start=start, step=step, space=space)
    if far_out(case.model, drawn, step):
        return
    rng = case.rng(18)
    for param in start:
        here, _ = held(there, param)
        way = direction(space, param, rng)

        def log_p(
            side: float, at: Mapping[str, Array], param: str = param, way: Array = way, here: Mapping[str, Array] = here
        ) -> Array:
            params = space.at(here, {param: side * SMALL * way})
            rows = world.parts_at(world.declarations(), params, at)
            return np.asarray(sum(r.sum(axis=1) for r in rows))

        middle = log_p(0.0, values)  # neither way up: at a kink, as of a median, slopes need not be 0
        rises = []
        for side in (1.0, -1.0):
            slope = (log_p(side, values) - middle) / SMALL
            error = float(slope.std(ddof=1) / np.sqrt(DRAWS)) + LEVEL * (1 + float(np.abs(slope).max()))
            if unseen:
                error += unseen * float(np.ptp((log_p(side, rare) - log_p(0.0, rare)) / SMALL))
            rises.append(float(slope.mean()) / error)
        yield measured(ON_AVERAGE, param, max(0.0, *rises), 5.0, "standard errors")


def _at_rest(case: Case, start: Mapping[str, Array], drawn: Drawn) -> Any:
    """A fit at the start whose q no sweep moves: the M-step has the q of another sweep than is reported, else."""
    begun = case.fit(start, 0, drawn)
    for _ in range(SWEEPS):
        try:
            again = case.fit({**start, **begun.posterior_}, 0, drawn)
        except DataError as refused:
            raise Unchecked(reason(refused)) from None
        if abs(again.objective_ - begun.objective_) <= RESTS * (1 + abs(again.objective_)):
            return again
        begun = again
    raise Unchecked(f"q still moves after {SWEEPS} sweeps")


class Ratios(NamedTuple):
    """Of draws from q: log p - log q; and of each block its share of log q and its value, (draws,) and (draws, n)."""

    off: Array
    own: Mapping[str, Array]
    values: Mapping[str, Array]


def _ratios(
    blocks: Sequence[Any], told: Mapping[str, Any], world: World, params: Mapping[str, Array], draws: int,
    rng: np.random.Generator,
) -> Ratios:  # fmt: skip
    shown = {n: flat(v) for n, v in told.items()}
    there = {n: _there(n, world) for b in blocks for n in b.latents if b.states}
    values, own = dict[str, Array](), dict[str, Array]()
    for block in blocks:  # each given those before
        value, own[block.name] = _drawn(block, shown, values, there, draws, rng)
        values[block.name] = value.reshape(draws, *world.latents[block.name].shape)
    log_p = sum(rows.sum(axis=1) for rows in world.parts_at(world.declarations(), params, values))
    return Ratios(np.asarray(log_p - sum(own.values())), own, {n: v.reshape(draws, -1) for n, v in values.items()})


def _settled(
    blocks: Sequence[Any], fit: Any, world: World, params: Mapping[str, Array], case: Case
) -> Iterator[Check]:  # fmt: skip
    """Where sweeps have settled each factor is the best that there is beside the others.

    Then E[log p - log q | z_b] is one number whatever z_b, so no function of z_b goes with log p - log q.
    """
    told = fit._module.posterior(fit.params_, *fit._training[:2])
    rng = case.rng(13)
    worst: dict[str, float] = {}
    for draws in SETTLED:
        found = _ratios(blocks, told, world, params, draws, rng)
        for block in blocks:
            n, value = block.name, found.values[block.name]
            along = value @ rng.standard_normal(value.shape[1])
            far = max(_goes_with(f, found.off) for f in (found.own[n], along))
            worst[n] = min(far, worst.get(n, np.inf))
        if max(worst.values()) <= 5.0:
            break
    for n, far in worst.items():
        yield measured("no factor of q can be better", n, far, 5.0)


def _goes_with(f: Array, g: Array) -> float:
    """A covariance, in standard errors; sweeps end a little beside the best factor, which is no more than `BESIDE`."""
    product = (f - f.mean()) * (g - g.mean())
    error = product.std() / np.sqrt(len(f)) + BESIDE * f.std()
    return abs(float(product.mean())) / float(error) if error > 0 else 0.0


def _fitted(case: Case) -> tuple[Drawn, Any]:
    """Data and a fit of them: others, where these are refused or collapse. Raises Unchecked where all do.

    Givens are not what they are by default: terms of log p and q that are 0 there are tried as well.
    """
    refused, folded = "", case.drawn.setting.folded
    for attempt in range(TRIES):
        drawn = draw(case.world.model, case.seed + 1000 * attempt, ROWS, folded=folded, other=True)
        try:
            return drawn, case.fit({n: np.asarray(v, float) for n, v in drawn.setting.params.items()}, STEPS, drawn)
        except (DataError, DegenerateError) as why:
            refused = reason(why)
    raise Unchecked(refused)


def _there(name: str, world: World) -> Array:
    """Which elements of a latent a filtered plate leaves in."""
    out = np.zeros(world.latents[name].size, bool)
    out[[c.at for c in cells_of(world, world.model.variable(name))]] = True
    return out


def _drawn(
    block: Any, shown: Mapping[str, Any], values: Mapping[str, Array], there: Mapping[str, Array],
    draws: int, rng: np.random.Generator,
) -> Draw:  # fmt: skip
    """Draws of a block's latent."""
    tied = block.chain is not None or (block.network and not block.apart) or (block.field and block.field.ties)
    if len(block.latents) > 1 or tied or block.gates or block.cuts:
        raise Unchecked(f"what q says of {block.name} is not told by its elements one by one")
    read = (e for t in block.terms for f in t.factors for e in x.walk(f) if isinstance(e, x.El) and e.var in AT)
    if any(e.idx[0] in block.states for e in read):
        raise Unchecked(f"{block.name} is held at points, which are not drawn here")
    fields = shown[block.name]
    if block.states:
        return _states(fields, there[block.name], draws, rng)
    if block.filtered:
        raise Unchecked(f"some elements of {block.name} are not there")
    if block.scale is not None:
        return _scaled(block, fields, shown, values, rng)
    kind = "Gaussian" if block.gaussian is not None else block.record.name
    if kind not in KINDS:
        raise Unchecked(f"{block.name} is {kind}, which is not drawn here")
    return KINDS[kind](fields, draws, rng)


def _each(log_q: Array) -> Array:
    """(draws,): the sum over all elements."""
    return np.asarray(log_q.reshape(len(log_q), -1).sum(axis=1))


def _states(p: Array, there: Array, draws: int, rng: np.random.Generator) -> Draw:
    """From probabilities of states, those of an element last."""
    table = p.reshape(-1, p.shape[-1])
    at = (rng.random((draws, len(table), 1)) > table.cumsum(1)).sum(-1).clip(max=table.shape[1] - 1)
    return at.astype(float), np.log(table[np.arange(len(table)), at])[:, there].sum(axis=1)


def _gaussian(fields: Fields, draws: int, rng: np.random.Generator) -> Draw:
    mean = fields["mean"]
    if "var" in fields:
        return _numbers(mean, np.broadcast_to(fields["var"], (draws, *mean.shape)), rng)
    return _vectors(mean, np.broadcast_to(fields["cov"], (draws, *mean.shape, mean.shape[-1])), rng)


def _numbers(mean: Array, var: Array, rng: np.random.Generator) -> Draw:
    """Normals; of each draw its own variances."""
    z = rng.standard_normal(var.shape)
    return mean + np.sqrt(var) * z, _each(-0.5 * (z**2 + np.log(2 * np.pi * var)))


def _vectors(mean: Array, cov: Array, rng: np.random.Generator) -> Draw:
    """Gaussian vectors; of each draw its own covariances."""
    root = np.linalg.cholesky(cov)
    z = rng.standard_normal(cov.shape[:-1])
    size = np.log(np.diagonal(root, axis1=-2, axis2=-1))
    return mean + (root @ z[..., None])[..., 0], _each(-0.5 * (z**2 + np.log(2 * np.pi)) - size)


def _known(name: str, fields: Callable[[Fields], tuple[tuple[Array, ...], Fields]]) -> Kind:
    """A family of scipy's, with its arguments from what is told."""

    def drawn(told: Fields, draws: int, rng: np.random.Generator) -> Draw:
        args, named = fields(told)
        shape = np.broadcast_shapes(*(np.shape(a) for a in (*args, *named.values())))
        kind = getattr(scipy.stats, name)
        value = np.asarray(kind.rvs(*args, **named, size=(draws, *shape), random_state=rng))
        return value, _each(np.asarray(kind.logpdf(value, *args, **named)))

    return drawn


def _dirichlet(fields: Fields, draws: int, rng: np.random.Generator) -> Draw:
    a = fields["concentration"]
    drawn = rng.standard_gamma(a, (draws, *a.shape)) + 1e-300
    value = drawn / drawn.sum(-1, keepdims=True)
    gammaln = scipy.special.gammaln
    log_q = gammaln(a.sum(-1)).sum() - gammaln(a).sum() + _each((a - 1) * np.log(value))
    return value, log_q


def _matrices(name: str) -> Kind:
    def drawn(fields: Fields, draws: int, rng: np.random.Generator) -> Draw:
        d = fields["scale"].shape[-1]
        values, log_q = [], np.zeros(draws)
        for df, scale in zip(np.ravel(fields["df"]), fields["scale"].reshape(-1, d, d), strict=True):
            kind = getattr(scipy.stats, name)(float(df), scale)
            values.append(np.reshape(kind.rvs(draws, random_state=rng), (draws, d, d)))
            log_q += kind.logpdf(np.moveaxis(values[-1], 0, -1))
        return np.stack(values, axis=1), log_q

    return drawn


KINDS: Mapping[str, Kind] = {
    "Gaussian": _gaussian,
    "Normal": _gaussian,
    "Gamma": _known("gamma", lambda f: ((f["shape"],), {"scale": 1 / f["rate"]})),
    "InverseGamma": _known("invgamma", lambda f: ((f["shape"],), {"scale": f["scale"]})),
    "Beta": _known("beta", lambda f: ((f["a"], f["b"]), {})),
    "LogNormal": _known("lognorm", lambda f: ((np.sqrt(f["log var"]),), {"scale": np.exp(f["log mean"])})),
    "VonMises": _known("vonmises", lambda f: ((f["concentration"],), {"loc": f["mean"]})),
    "Dirichlet": _dirichlet,
    "Wishart": _matrices("wishart"),
    "InverseWishart": _matrices("invwishart"),
}


def _scaled(
    block: Any, fields: Fields, shown: Mapping[str, Any], values: Mapping[str, Array], rng: np.random.Generator
) -> Draw:
    """A Gaussian given what scales its precision: its covariance is a number times that, whose mean is reported."""
    body = block.scale.body if isinstance(block.scale, x.MatInv) else block.scale
    leaf = body.base if isinstance(body, x.Pow) else body
    lead = tuple(i for i in leaf.idx if i in block.home) if isinstance(leaf, x.El) else None
    if not isinstance(leaf, x.El) or lead not in ((), block.home) or leaf.var not in values:
        raise Unchecked(f"{block.name} is scaled by latents of other plates")
    other, drawn = shown[leaf.var], values[leaf.var]
    mean = fields["mean"]
    d = mean.shape[-1] if "cov" in fields else 1
    if "df" in other:
        scale = other["scale"].reshape(-1, d, d)
        df = np.ravel(other["df"])[:, None, None]
        turned = np.linalg.inv(scale) if leaf is block.scale else scale
        number = _ratio(fields["cov"].reshape(-1, d, d), turned / (df - d - 1))
        each = drawn.reshape(len(drawn), -1, d, d)
        cov = number[:, None, None] * (np.linalg.inv(each) if leaf is block.scale else each)
        return _vectors(mean.reshape(-1, d), cov, rng)
    if "shape" not in other:
        raise Unchecked(f"{block.name} is scaled by {leaf.var}, which is not drawn here")
    expected = other["rate"] / (other["shape"] - 1) if leaf is block.scale else other["scale"] / (other["shape"] - 1)
    number = (1 / drawn if leaf is block.scale else drawn) / expected
    if "cov" in fields:
        return _vectors(
            mean.reshape(-1, d), number.reshape(len(drawn), -1, 1, 1) * fields["cov"].reshape(-1, d, d), rng
        )
    return _numbers(mean, number * fields["var"], rng)


def _ratio(a: Array, b: Array) -> Array:
    """The number that each matrix of a is times that of b."""
    return np.asarray(np.trace(a, axis1=1, axis2=2) / np.trace(b, axis1=1, axis2=2))
