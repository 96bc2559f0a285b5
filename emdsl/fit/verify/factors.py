"""Draws from the factors of q as `posterior_` tells them, family by family, and log p - log q at these.

Of the plan it is only asked which latents are drawn one by one, and of which family each is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy  # whose parts load where they are first read: few models need its families

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.made import AT
from emdsl.families.scope import Array
from emdsl.fit.verify.cells import cells_of
from emdsl.fit.verify.setting import flat
from emdsl.fit.verify.world import Unchecked, World

Fields = Mapping[str, Array]
Draw = tuple[Array, Array]  # (draws, ...) values of all elements, and (draws,) log q of each
Kind = Callable[[Fields, int, np.random.Generator], Draw]


class Ratios(NamedTuple):
    """Of draws from q: log p - log q; and of each block its share of log q and its value, (draws,) and (draws, n)."""

    off: Array
    own: Mapping[str, Array]
    values: Mapping[str, Array]


def ratios(
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
            log_q += log_wishart(values[-1], float(df), scale, name == "invwishart")
        return np.stack(values, axis=1), log_q

    return drawn


def log_wishart(at: Array, df: float, scale: Array, inverse: bool) -> Array:
    """log density (n,) of a Wishart at matrices (n, d, d), or of an inverse Wishart: scipy's takes them one by one.

    Press (1982), Applied Multivariate Analysis, sections 5.1 and 5.2.
    """
    d, half = scale.shape[-1], 0.5 * df
    size, whole = np.linalg.slogdet(at)[1], np.linalg.slogdet(scale)[1]
    ratio = np.linalg.solve(at, scale) if inverse else np.linalg.solve(scale, at)
    power, norm = (-half - 0.5 * (d + 1), half) if inverse else (half - 0.5 * (d + 1), -half)
    constant = norm * whole - half * d * np.log(2) - scipy.special.multigammaln(half, d)
    return np.asarray(power * size - 0.5 * np.trace(ratio, axis1=-2, axis2=-1) + constant)


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
