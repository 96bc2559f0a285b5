"""Families as p(x) = exp(<eta, T(x)> - A(eta)), written down by hand: what posteriors are held against.

Each row gives, for its eta: the family's arguments, A, E[T] and other moments that have closed forms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy import special

from emdsl.families import kernels_natural as gig
from emdsl.families.kernels_continuous import log_bessel_i0
from emdsl.families.kernels_vector import spd_inverse
from emdsl.families.records import Function
from natural import moments as at

LOG_2PI = float(np.log(2 * np.pi))


@dataclass(frozen=True, slots=True)
class Natural:
    """A family in natural parameters: exp(<eta, T(x)> - A(eta)), base measure 1 unless `base` says else.

    `statistics` names the T_j, keys of `natural.statistics.STATISTICS`; `axes` counts the own
    axes of each (0 scalar, 1 vector, 2 matrix), which are those of its eta too. Every function takes the
    eta_j in this order. `moments` returns E[T_j] in this order; `extra` gives further cheap
    moments by the statistic's name, `id` always among them or among the statistics.
    `valid(*eta)` is a boolean per batch element: the density can be normalised.
    `family` and `arguments(*eta)` name the family of the language (or of the table below it) that this is.
    """

    family: str
    support: str
    statistics: tuple[str, ...]
    axes: tuple[int, ...]
    arguments: Function
    natural: Function
    log_normaliser: Function
    moments: Function
    valid: Function
    extra: Mapping[str, Function] = field(default_factory=dict)
    base: Function | None = None


NATURALS: tuple[Natural, ...] = (
    Natural(
        "Normal",
        "real",
        ("id", "square"),
        (0, 0),
        arguments=lambda h, q: (at.normal(h, q)[0], np.sqrt(at.normal(h, q)[1])),
        natural=lambda m, s: (m / np.square(s), -0.5 / np.square(s)),
        log_normaliser=at.normal_log_normaliser,
        moments=at.normal_moments,
        valid=lambda h, q: at.real(q) < 0,
        extra={
            "cube": at.normal_cube,
            "fourth": at.normal_fourth,
            "exp": at.normal_exp(1),
            "exp_neg": at.normal_exp(-1),
        },
    ),
    Natural(
        "MvNormal",
        "real",
        ("id", "outer"),
        (1, 2),
        arguments=at.mvnormal,
        natural=lambda m, c: ((spd_inverse(c) @ at.real(m)[..., None])[..., 0], -0.5 * spd_inverse(c)),
        log_normaliser=at.mvnormal_log_normaliser,
        moments=at.mvnormal_moments,
        valid=lambda h, q: at.is_spd(-at.real(q)),
    ),
    Natural(
        "VonMises",
        "angle",
        ("cos", "sin"),
        (0, 0),
        arguments=at.vonmises,
        natural=lambda m, k: (k * np.cos(m), k * np.sin(m)),
        log_normaliser=lambda c, s: LOG_2PI + log_bessel_i0(np.hypot(c, s)),
        moments=at.vonmises_moments,
        valid=lambda c, s: np.isfinite(at.real(c) + s),
    ),
    Natural(
        "Gamma",
        "positive",
        ("log", "id"),
        (0, 0),
        arguments=lambda n, r: (at.real(n) + 1, -at.real(r)),
        natural=lambda a, r: (at.real(a) - 1, -at.real(r)),
        log_normaliser=lambda n, r: special.gammaln(at.real(n) + 1) - (at.real(n) + 1) * np.log(-at.real(r)),
        moments=lambda n, r: (special.digamma(at.real(n) + 1) - np.log(-at.real(r)), (at.real(n) + 1) / -at.real(r)),
        valid=lambda n, r: (at.real(n) > -1) & (at.real(r) < 0),
        extra={
            "square": lambda n, r: (at.real(n) + 1) * (at.real(n) + 2) / np.square(r),
            "recip": at.gamma_extra(1),
            "recip_square": at.gamma_extra(2),
            "log_square": lambda n, r: (
                special.polygamma(1, at.real(n) + 1) + (special.digamma(at.real(n) + 1) - np.log(-at.real(r))) ** 2
            ),
        },
    ),
    Natural(
        "InverseGamma",
        "positive",
        ("log", "recip"),
        (0, 0),
        arguments=lambda n, r: (-at.real(n) - 1, -at.real(r)),
        natural=lambda a, r: (-at.real(a) - 1, -at.real(r)),
        log_normaliser=lambda n, r: special.gammaln(-at.real(n) - 1) + (at.real(n) + 1) * np.log(-at.real(r)),
        moments=lambda n, r: (np.log(-at.real(r)) - special.digamma(-at.real(n) - 1), (-at.real(n) - 1) / -at.real(r)),
        valid=lambda n, r: (at.real(n) < -1) & (at.real(r) < 0),
        extra={
            "id": lambda n, r: at.gamma_extra(1)(-at.real(n) - 2, r),
            "square": lambda n, r: at.gamma_extra(2)(-at.real(n) - 2, r),
            "recip_square": lambda n, r: (-at.real(n) - 1) * -at.real(n) / np.square(r),
        },
    ),
    Natural(
        "LogNormal",
        "positive",
        ("log", "log_square"),
        (0, 0),
        arguments=lambda n, q: (at.normal(at.real(n) + 1, q)[0], np.sqrt(at.normal(at.real(n) + 1, q)[1])),
        natural=lambda m, s: (m / np.square(s) - 1, -0.5 / np.square(s)),
        log_normaliser=lambda n, q: at.normal_log_normaliser(at.real(n) + 1, q),
        moments=lambda n, q: at.normal_moments(at.real(n) + 1, q),
        valid=lambda n, q: at.real(q) < 0,
        extra={"id": at.lognormal_power(1), "square": at.lognormal_power(2), "recip": at.lognormal_power(-1)},
    ),
    Natural(
        "GeneralizedInverseGaussian",
        "positive",
        ("log", "id", "recip"),
        (0, 0, 0),
        arguments=at.gig_arguments,
        natural=lambda p, a, b: (at.real(p) - 1, -at.real(a) / 2, -at.real(b) / 2),
        log_normaliser=lambda n, r, q: gig.gig_log_normaliser(*at.gig_arguments(n, r, q)),
        moments=at.gig_moments,
        valid=lambda n, r, q: (
            ((at.real(r) < 0) & (at.real(q) < 0)) | ((at.real(r) < 0) & (at.real(q) <= 0) & (at.real(n) > -1))
        ),
        extra={
            "square": lambda n, r, q: gig.gig_power(2, *at.gig_arguments(n, r, q)),
            "recip_square": lambda n, r, q: gig.gig_power(-2, *at.gig_arguments(n, r, q)),
        },
    ),
    Natural(
        "Beta",
        "unit",
        ("log", "log1m"),
        (0, 0),
        arguments=lambda n, m: (at.real(n) + 1, at.real(m) + 1),
        natural=lambda a, b: (at.real(a) - 1, at.real(b) - 1),
        log_normaliser=lambda n, m: special.betaln(at.real(n) + 1, at.real(m) + 1),
        moments=lambda n, m: (
            special.digamma(at.real(n) + 1) - special.digamma(at.real(n) + m + 2),
            special.digamma(at.real(m) + 1) - special.digamma(at.real(n) + m + 2),
        ),
        valid=lambda n, m: (at.real(n) > -1) & (at.real(m) > -1),
        extra={
            "id": lambda n, m: (at.real(n) + 1) / (at.real(n) + m + 2),
            "square": lambda n, m: (at.real(n) + 1) * (at.real(n) + 2) / ((at.real(n) + m + 2) * (at.real(n) + m + 3)),
        },
    ),
    Natural(
        "Dirichlet",
        "simplex",
        ("log",),
        (1,),
        arguments=lambda eta: (at.real(eta) + 1,),
        natural=lambda a: (at.real(a) - 1,),
        log_normaliser=at.dirichlet_log_normaliser,
        moments=at.dirichlet_moments,
        valid=lambda eta: (at.real(eta) > -1).all(-1),
        extra={"id": at.dirichlet_mean, "outer": at.dirichlet_outer},
    ),
    Natural(
        "Wishart",
        "spd",
        ("id", "logdet"),
        (2, 0),
        arguments=lambda s, n: (at.wishart(s, n)[0], spd_inverse(at.wishart(s, n)[1])),
        natural=lambda df, s: (-0.5 * spd_inverse(s), (at.real(df) - np.shape(s)[-1] - 1) / 2),
        log_normaliser=at.wishart_log_normaliser,
        moments=at.wishart_moments,
        valid=lambda s, n: at.is_spd(-at.real(s)) & (at.real(n) > -1),
        extra={"inv": lambda s, n: at.wishart_other(s, *at.wishart(s, n))},
    ),
    Natural(
        "InverseWishart",
        "spd",
        ("inv", "logdet"),
        (2, 0),
        arguments=at.inverse_wishart,
        natural=lambda df, s: (-0.5 * at.real(s), -(at.real(df) + np.shape(s)[-1] + 1) / 2),
        log_normaliser=lambda s, n: at.wishart_log_normaliser(*at.inverse_wishart_eta(s, n)),
        moments=at.inverse_wishart_moments,
        valid=lambda s, n: at.is_spd(-at.real(s)) & (at.inverse_wishart(s, n)[0] > np.shape(s)[-1] - 1),
        extra={"id": lambda s, n: at.wishart_other(s, *at.inverse_wishart(s, n))},
    ),
    Natural(
        "Bernoulli",
        "bool",
        ("id",),
        (0,),
        arguments=lambda eta: (special.expit(eta),),
        natural=lambda p: (special.logit(p),),
        log_normaliser=lambda eta: np.logaddexp(0, eta),
        moments=lambda eta: (special.expit(eta),),
        valid=lambda eta: ~np.isnan(at.real(eta)),
    ),
    Natural(
        "Categorical",
        "category",
        ("onehot",),
        (1,),
        arguments=lambda eta: (special.softmax(eta, axis=-1),),
        natural=lambda p: (np.log(p),),
        log_normaliser=lambda eta: special.logsumexp(eta, axis=-1),
        moments=lambda eta: (special.softmax(eta, axis=-1),),
        valid=lambda eta: (at.real(eta) > -np.inf).any(-1) & ~np.isnan(eta).any(-1),
    ),
    Natural(
        "Poisson",
        "count",
        ("id",),
        (0,),
        arguments=lambda eta: (np.exp(eta),),
        natural=lambda rate: (np.log(rate),),
        log_normaliser=lambda eta: np.exp(eta),
        moments=lambda eta: (np.exp(eta),),
        valid=lambda eta: np.isfinite(at.real(eta)),
        extra={"square": lambda eta: np.exp(eta) + np.exp(2 * at.real(eta))},
        base=lambda x: -special.gammaln(at.real(x) + 1),
    ),
    Natural(
        "Geometric",
        "count",
        ("id",),
        (0,),
        arguments=lambda eta: (-np.expm1(eta),),
        natural=lambda p: (np.log1p(-at.real(p)),),
        log_normaliser=lambda eta: -np.log(-np.expm1(eta)),
        moments=lambda eta: (np.exp(eta) / -np.expm1(eta),),
        valid=lambda eta: at.real(eta) < 0,
    ),
)
