"""The bound of mean-field against what it is by definition: the mean of log p - log q over draws from q.

log p is the interpreter's; q is what `posterior_` tells, family by family; of the plan it is only asked which latents
are drawn one by one, and of which family each is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import scipy  # whose parts load where they are first read: few models need its families

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.made import AT
from emdsl.errors import DataError
from emdsl.families.scope import Array
from emdsl.fit.verify.case import Case
from emdsl.fit.verify.cells import Unchecked, World, cells_of
from emdsl.fit.verify.certificate import Check, measured
from emdsl.fit.verify.setting import Drawn, draw, flat

DRAWS, STEPS, WIDE = 200, 1, 1.0  # few steps: later factors are more certain, and tell less apart
ROWS = 5  # of a plate
TRIES = 12  # data that the model refuses are drawn again
Fields = Mapping[str, Array]
Draw = tuple[Array, float]  # a value of all elements, and log q of it
NAME = "the bound is the mean of log p - log q"
BELOW = "the bound is no more than the mean of log p - log q"


def bound(case: Case) -> Iterator[Check]:
    """The objective after some sweeps, in standard errors of the mean over draws from the factors of q."""
    parts = getattr(case.model.derived.elimination, "parts", ())
    if not parts:
        raise Unchecked("the objective is no bound")
    drawn, fit = _fitted(case)
    world = World.of(case.world.model, drawn)
    params = {n: np.asarray(v, float) for n, v in fit.params_.items()}
    unnamed = case.model.derived.joint.unnamed  # which addend an event is of: they leave the bound below that mean
    blocks = [b for p in parts for b in p.blocks if not unnamed & set(b.latents)]
    blocks.sort(key=lambda b: b.scale is not None)  # after their scales
    shown = {n: flat(v) for n, v in fit.posterior_.items()}
    there = {n: _there(n, world) for b in blocks for n in b.latents if b.states}
    rng, every, log_q = case.rng(9), [], np.zeros(DRAWS)
    for k in range(DRAWS):
        values: dict[str, Array] = {}
        for block in blocks:
            value, own = _drawn(block, shown, values, there, rng)
            values[block.name] = value.reshape(world.latents[block.name].shape)
            log_q[k] += own  # of each block given those before
        every.append(values)
    found = sum(rows.sum(axis=1) for rows in world.parts_at(world.declarations(), params, every)) - log_q
    error = float(found.std(ddof=1) / np.sqrt(DRAWS))
    if not error < WIDE:
        raise Unchecked(f"draws of log p - log q have a standard error of {error:.2g}")
    # a bound that is exact has no error but rounding
    far = (fit.objective_ - float(found.mean())) / max(error, 1e-9 * (1 + abs(fit.objective_)))
    far = max(far, 0.0) if unnamed else abs(far)
    yield measured(BELOW if unnamed else NAME, f"{DRAWS} draws, standard error {error:.1g}", far, 5.0)
    if not hasattr(fit, "_training") or not hasattr(fit._module, "whole_bound"):
        return
    whole = fit._module.whole_bound(fit.params_, *fit._training[1:])  # what weighs factors that no sweep has made
    off = abs(fit.objective_ - world.priors(params) - whole) / (1 + abs(whole))
    yield measured(NAME, "term by term as after a sweep", off, 1e-9)


def _fitted(case: Case) -> tuple[Drawn, Any]:
    """Data and a fit of them: others, where these are refused. Raises Unchecked where all are.

    Givens are not what they are by default: terms of log p and q that are 0 there are tried as well.
    """
    refused, folded = "", case.drawn.setting.folded
    for attempt in range(TRIES):
        drawn = draw(case.world.model, case.seed + 1000 * attempt, ROWS, folded=folded, other=True)
        try:
            return drawn, case.fit({n: np.asarray(v, float) for n, v in drawn.setting.params.items()}, STEPS, drawn)
        except DataError as why:
            refused = str(why)
    raise Unchecked(refused)


def _there(name: str, world: World) -> Array:
    """Which elements of a latent a filtered plate leaves in."""
    out = np.zeros(world.latents[name].size, bool)
    out[[c.at for c in cells_of(world, world.model.variable(name))]] = True
    return out


def _drawn(
    block: Any, shown: Mapping[str, Any], values: Mapping[str, Array], there: Mapping[str, Array],
    rng: np.random.Generator,
) -> Draw:  # fmt: skip
    """One draw of a block's latent."""
    tied = block.chain is not None or (block.network and not block.apart) or (block.field and block.field.ties)
    if len(block.latents) > 1 or tied or block.gates or block.cuts:
        raise Unchecked(f"what q says of {block.name} is not told by its elements one by one")
    read = (e for t in block.terms for f in t.factors for e in x.walk(f) if isinstance(e, x.El) and e.var in AT)
    if any(e.idx[0] in block.states for e in read):
        raise Unchecked(f"{block.name} is held at points, which are not drawn here")
    fields = shown[block.name]
    if block.states:
        return _states(fields, there[block.name], rng)
    if block.filtered:
        raise Unchecked(f"some elements of {block.name} are not there")
    if block.scale is not None:
        return _scaled(block, fields, shown, values, rng)
    kind = "Gaussian" if block.gaussian is not None else block.record.name
    if kind not in KINDS:
        raise Unchecked(f"{block.name} is {kind}, which is not drawn here")
    return KINDS[kind](fields, rng)


def _states(p: Array, there: Array, rng: np.random.Generator) -> Draw:
    """From probabilities of states, those of an element last."""
    table = p.reshape(-1, p.shape[-1])
    at = (rng.random((len(table), 1)) > table.cumsum(1)).sum(1).clip(max=table.shape[1] - 1)
    return at.astype(float), float(np.log(table[np.arange(len(table)), at])[there].sum())


def _gaussian(fields: Fields, rng: np.random.Generator) -> Draw:
    mean = fields["mean"]
    if "var" in fields:
        return _given(scipy.stats.norm(mean, np.sqrt(fields["var"])), rng)
    d = mean.shape[-1]
    return _vectors(mean, np.broadcast_to(fields["cov"], (*mean.shape, d)), rng)


def _vectors(mean: Array, cov: Array, rng: np.random.Generator) -> Draw:
    d = mean.shape[-1]
    root = np.linalg.cholesky(cov.reshape(-1, d, d))
    z = rng.standard_normal((len(root), d))
    value = mean.reshape(-1, d) + (root @ z[..., None])[..., 0]
    size = np.log(np.diagonal(root, axis1=1, axis2=2)).sum()
    return value, float(-0.5 * (z**2).sum() - size - z.size / 2 * np.log(2 * np.pi))


def _given(kind: Any, rng: np.random.Generator) -> Draw:
    value = np.asarray(kind.rvs(random_state=rng))
    return value, float(np.sum(kind.logpdf(value)))


def _dirichlet(fields: Fields, rng: np.random.Generator) -> Draw:
    a = fields["concentration"]
    drawn = rng.standard_gamma(a) + 1e-300
    value = drawn / drawn.sum(-1, keepdims=True)
    gammaln = scipy.special.gammaln
    log_q = gammaln(a.sum(-1)).sum() - gammaln(a).sum() + ((a - 1) * np.log(value)).sum()
    return value, float(log_q)


def _matrices(name: str) -> Callable[[Fields, np.random.Generator], Draw]:
    def drawn(fields: Fields, rng: np.random.Generator) -> Draw:
        scale = fields["scale"]
        d = scale.shape[-1]
        each = zip(np.ravel(fields["df"]), scale.reshape(-1, d, d), strict=True)
        kinds = [getattr(scipy.stats, name)(float(df), s) for df, s in each]
        value = [np.reshape(k.rvs(random_state=rng), (d, d)) for k in kinds]
        return np.array(value), float(sum(k.logpdf(v) for k, v in zip(kinds, value, strict=True)))

    return drawn


KINDS: Mapping[str, Callable[[Fields, np.random.Generator], Draw]] = {
    "Gaussian": _gaussian,
    "Normal": _gaussian,
    "Gamma": lambda f, rng: _given(scipy.stats.gamma(f["shape"], scale=1 / f["rate"]), rng),
    "InverseGamma": lambda f, rng: _given(scipy.stats.invgamma(f["shape"], scale=f["scale"]), rng),
    "Beta": lambda f, rng: _given(scipy.stats.beta(f["a"], f["b"]), rng),
    "LogNormal": lambda f, rng: _given(scipy.stats.lognorm(np.sqrt(f["log var"]), scale=np.exp(f["log mean"])), rng),
    "VonMises": lambda f, rng: _given(scipy.stats.vonmises(f["concentration"], loc=f["mean"]), rng),
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
        each = drawn.reshape(-1, d, d)
        cov = number[:, None, None] * (np.linalg.inv(each) if leaf is block.scale else each)
        return _vectors(mean, cov, rng)
    if "shape" not in other:
        raise Unchecked(f"{block.name} is scaled by {leaf.var}, which is not drawn here")
    expected = other["rate"] / (other["shape"] - 1) if leaf is block.scale else other["scale"] / (other["shape"] - 1)
    spread = 1 / drawn if leaf is block.scale else drawn
    if "cov" in fields:
        number = (spread / expected).reshape(-1, 1, 1)
        return _vectors(mean, number * fields["cov"].reshape(-1, d, d), rng)
    return _given(scipy.stats.norm(mean, np.sqrt(fields["var"] / expected * spread)), rng)


def _ratio(a: Array, b: Array) -> Array:
    """The number that each matrix of a is times that of b."""
    return np.asarray(np.trace(a, axis1=1, axis2=2) / np.trace(b, axis1=1, axis2=2))
