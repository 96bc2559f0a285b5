"""Factors of q that the user starts from: the fields of `posterior_`, as the arrays that factors are kept in."""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype are Any to mypy)

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.data.faults import DataError
from emdsl.runtime.meanfield.variational import put

# from a family's own parameters, by the fields of `posterior_`, to the natural ones that its kernel takes
NATURAL: dict[str, Callable[..., tuple[Array, ...]]] = {
    "gamma_posterior": lambda shape, rate: (shape - 1, -rate),
    "inverse_gamma_posterior": lambda shape, scale: (-shape - 1, -scale),
    "beta_posterior": lambda a, b: (a - 1, b - 1),
    "normal_posterior": lambda mean, var: (mean / var, -0.5 / var),
    "log_normal_posterior": lambda mean, var: (mean / var, -0.5 / var),
    "von_mises_posterior": lambda mean, concentration: (concentration * np.cos(mean), concentration * np.sin(mean)),
    "generalised_inverse_gaussian_posterior": lambda p, a, b: (p - 1, -a / 2, -b / 2),
    "dirichlet_posterior": lambda concentration: (concentration - 1,),
    "wishart_posterior": lambda df, scale: ((df - scale.shape[-1] - 1) / 2, -np.linalg.inv(scale) / 2),
    "inverse_wishart_posterior": lambda df, scale: (-(df + scale.shape[-1] + 1) / 2, -scale / 2),
}


def put_member(
    factors: dict[str, Array], given: dict[str, Any], latent: str, kernel: Callable[..., Any],
    fields: Sequence[str], order: tuple[int, ...], plates: int, wanted: Mapping[str, tuple[str, str]],
    origin: Any = 0.0, **axis: Any,
) -> None:  # fmt: skip
    """The member of a family that the user starts from, by its own parameters.

    fields : the names of these in `posterior_`; order : the axes of (plates, own) in which an element is kept.
    """
    if latent not in given:
        return
    values = _fields(given, latent, fields)
    values = [v - origin if f == "mean" else v for f, v in zip(fields, values, strict=True)]
    home = tuple(p for p in order if p < plates)
    with np.errstate(all="ignore"):
        natural = NATURAL[kernel.__name__](*values)
    kept = []
    for n in natural:
        if n.ndim not in (len(order), plates):
            raise _refused(latent, fields)
        kept.append(n.transpose(order if n.ndim == len(order) else home))
    with np.errstate(all="ignore"):
        _, found = kernel(*kept, **axis)
    made = {"E": found, "argument": found.get("arguments", {})}
    _keep(factors, latent, fields, {key: made[kind][name] for key, (kind, name) in wanted.items()})


def put_gaussian(
    factors: dict[str, Array], given: dict[str, Any], latent: str, fields: Sequence[str],
    mean: tuple[str, tuple[int, ...]], cov: tuple[str, tuple[int, ...]], shared: tuple[int, ...] = (),
    origin: Any = 0.0, scale: tuple[str, tuple[int, ...]] = ("", ()),
) -> None:  # fmt: skip
    """The mean and the covariance of a Gaussian that the user starts from.

    Each comes with the axes of (plates, own) in which it is kept; `shared` are plates on which a covariance does not
    depend: the mean over them. `scale` is the expectation that multiplies it where the factor holds what it is without,
    with the axes of a matrix in it: found by traces.
    """
    if latent not in given:
        return
    centre, spread = _fields(given, latent, fields)
    places = (mean[0], (centre - origin), mean[1]), (cov[0], spread.mean(shared) if shared else spread, cov[1])
    kept = {}
    for key, value, order in places:
        if value.ndim != len(order):
            raise _refused(latent, fields)
        kept[key] = value.transpose(order)
    if scale[0]:
        by, matrix = factors[scale[0]], scale[1]
        kept[cov[0]] = np.trace(kept[cov[0]]) / np.trace(by, 0, matrix[0], matrix[1]) if matrix else kept[cov[0]] / by
    _keep(factors, latent, fields, kept)


def put_points(
    factors: dict[str, Array], given: dict[str, Any], latent: str, order: tuple[int, ...], origin: Any = 0.0
) -> None:
    """Points about the mean that the user starts from, as far as the standard deviation says."""
    if latent not in given:
        return
    fields = ("mean", "var")
    centre, spread = (v.transpose(order) for v in _fields(given, latent, fields))
    at, q = factors[f"at:{latent}"], factors[f"q:{latent}"]
    own = (q * at).sum(0)
    size = np.sqrt((q * (at - own) ** 2).sum(0))
    with np.errstate(all="ignore"):
        new = centre - origin + (at - own) * np.sqrt(spread) / size
    _keep(factors, latent, fields, {f"at:{latent}": new})


def put_together(
    factors: dict[str, Array], given: dict[str, Any], latents: Sequence[str], key: str, order: tuple[int, ...]
) -> None:
    """The probabilities of discrete latents that are found together, as if they were independent."""
    told = [n for n in latents if n in given]
    if len(told) not in (0, len(latents)):
        raise DataError(f"init: {', '.join(latents)} are found together: {', '.join(told)} alone is no start",
                        code="D016")  # fmt: skip
    whole, shape = np.ones(()), factors[key].shape
    for k, n in enumerate(told):
        own = {key: np.ones((shape[k], *shape[len(told) :]))}
        put(own, given, n, key, order)
        whole = whole * own[key].reshape(
            *(s if i == k else 1 for i, s in enumerate(shape[: len(told)])), *shape[len(told) :]
        )
    if told:
        factors[key] = whole


def put_chain(factors: dict[str, Array], latent: str, key: str, told: set[str]) -> None:
    """Probabilities of neighbours in a chain that the user starts from: as if they were independent."""
    q, pair = factors[key], factors.get(f"pair:{latent}")
    if latent in told and pair is not None and pair.shape == (len(q), *q.shape):
        factors[f"pair:{latent}"] = np.roll(q, 1, axis=-1)[:, None] * q


def _fields(given: dict[str, Any], latent: str, fields: Sequence[str]) -> list[Array]:
    """The fields that a latent is given by, taken out of `given`; arrays of the parts of a ragged plate one after the
    other."""
    value = given.pop(latent)
    if not isinstance(value, Mapping) or not set(fields) <= set(value):
        raise _refused(latent, fields)
    out = []
    for f in fields:
        own = value[f]
        if isinstance(own, list | tuple) and own and isinstance(own[0], np.ndarray):
            own = np.concatenate([p for p in own if len(p)])
        try:
            out.append(np.asarray(own, float))
        except (TypeError, ValueError):
            raise _refused(latent, fields) from None
    return out


def _keep(factors: dict[str, Array], latent: str, fields: Sequence[str], found: Mapping[str, Any]) -> None:
    """The arrays of a factor in place of those that it starts from. Raises DataError where they are not like them."""
    for key, value in found.items():
        if np.shape(value) != np.shape(factors[key]) or np.isnan(value).any():
            raise _refused(latent, fields)
    factors.update({key: np.array(value, float) for key, value in found.items()})


def _refused(latent: str, fields: Sequence[str]) -> DataError:
    named = " and ".join(fields)
    return DataError(f"init: {latent} must be a dict of arrays as in posterior_, with {named}", code="D016")
