"""The table of the scalar continuous families."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special

from emdsl.families import kernels_continuous as k
from emdsl.families.records import Array, Form, Kernel, Record


def _f(x: Any) -> Array:
    return np.asarray(x, float)


CONTINUOUS: tuple[Record, ...] = (
    Record(
        "Normal",
        Kernel(
            ("mean", "sd"),
            k.normal_log_density,
            k.normal_sample,
            mean=lambda m, s: m + 0 * _f(s),
            variance=lambda m, s: np.square(s) + 0 * _f(m),
            mode=lambda m, s: m + 0 * _f(s),
            cdf=lambda x, m, s: special.ndtr((_f(x) - m) / s),
            sf=lambda x, m, s: special.ndtr(-(_f(x) - m) / s),
        ),
        (
            Form(("mean", "sd")),
            Form(("mean", "var"), lambda m, v: (m, np.sqrt(v)), k.normal_var_log_density),
            Form(("mean", "precision"), lambda m, p: (m, 1 / np.sqrt(p)), k.normal_precision_log_density),
        ),
    ),
    Record(
        "Laplace",
        Kernel(
            ("mean", "scale"),
            k.laplace_log_density,
            k.laplace_sample,
            mean=lambda m, b: m + 0 * _f(b),
            variance=lambda m, b: 2 * np.square(b) + 0 * _f(m),
            mode=lambda m, b: m + 0 * _f(b),
            cdf=lambda x, m, b: k.laplace_sf(-_f(x), -_f(m), b),
            sf=k.laplace_sf,
        ),
        (Form(("mean", "scale")),),
    ),
    Record(
        "StudentT",
        Kernel(
            ("df", "mean", "scale"),
            k.student_log_density,
            k.student_sample,
            mean=lambda df, m, s: np.where(_f(df) > 1, m + 0 * _f(s), np.nan),
            variance=k.student_variance,
            mode=lambda df, m, s: m + 0 * _f(s) + 0 * _f(df),
            cdf=lambda x, df, m, s: special.stdtr(df, (_f(x) - m) / s),
            sf=lambda x, df, m, s: special.stdtr(df, -(_f(x) - m) / s),
        ),
        (Form(("df", "mean", "scale")),),
    ),
    Record(
        "VonMises",
        Kernel(
            ("mean", "concentration"),
            k.vonmises_log_density,
            k.vonmises_sample,
            mean=k.vonmises_mean,
            variance=k.vonmises_variance,
            mode=lambda m, c: k.wrap(m + 0 * _f(c)),
        ),
        (Form(("mean", "concentration")),),
    ),
    Record(
        "Uniform",
        Kernel(
            ("low", "high"),
            k.uniform_log_density,
            k.uniform_sample,
            mean=lambda a, b: (_f(a) + b) / 2,
            variance=lambda a, b: (_f(b) - a) ** 2 / 12,
            mode=lambda a, b: (_f(a) + b) / 2,
            cdf=lambda x, a, b: np.clip((_f(x) - a) / (_f(b) - a), 0, 1),
            sf=lambda x, a, b: np.clip((_f(b) - x) / (_f(b) - a), 0, 1),
        ),
        (Form(("low", "high")),),
    ),
    Record(
        "Delta",
        Kernel(
            ("value",),
            k.delta_log_density,
            k.delta_sample,
            mean=lambda v: np.asarray(v),
            variance=lambda v: np.zeros(np.shape(v)),
            mode=lambda v: np.asarray(v),
            cdf=lambda x, v: (np.asarray(x) >= v).astype(float),
            sf=lambda x, v: (np.asarray(x) < v).astype(float),
        ),
        (Form(("value",)),),
        atom=True,
    ),
    Record(
        "LogNormal",
        Kernel(
            ("mean", "sd"),
            k.lognormal_log_density,
            k.lognormal_sample,
            mean=lambda m, s: np.exp(m + np.square(s) / 2),
            variance=lambda m, s: np.expm1(np.square(s)) * np.exp(2 * _f(m) + np.square(s)),
            mode=lambda m, s: np.exp(m - np.square(s)),
            cdf=lambda x, m, s: special.ndtr((np.log(np.maximum(x, 1e-308)) - m) / s),
            sf=lambda x, m, s: special.ndtr(-(np.log(np.maximum(x, 1e-308)) - m) / s),
        ),
        (
            Form(("mean", "sd")),
            Form(("mean", "var"), lambda m, v: (m, np.sqrt(v)), k.lognormal_var_log_density),
        ),
    ),
    Record(
        "Exponential",
        Kernel(
            ("rate",),
            k.exponential_log_density,
            k.exponential_sample,
            mean=lambda r: 1 / _f(r),
            variance=lambda r: 1 / np.square(_f(r)),
            mode=lambda r: 0 * _f(r),
            cdf=lambda x, r: -np.expm1(-r * np.maximum(x, 0)),
            sf=lambda x, r: np.exp(-r * np.maximum(x, 0)),
        ),
        (Form(("rate",)),),
    ),
    Record(
        "Gamma",
        Kernel(
            ("shape", "rate"),
            k.gamma_log_density,
            k.gamma_sample,
            mean=lambda a, r: a / _f(r),
            variance=lambda a, r: a / np.square(_f(r)),
            mode=lambda a, r: np.maximum(_f(a) - 1, 0) / r,
            cdf=lambda x, a, r: special.gammainc(a, r * np.maximum(x, 0)),
            sf=lambda x, a, r: special.gammaincc(a, r * np.maximum(x, 0)),
        ),
        (
            Form(("shape", "rate")),
            Form(("shape", "scale"), lambda a, s: (a, 1 / _f(s)), k.gamma_scale_log_density),
        ),
    ),
    Record(
        "InverseGamma",
        Kernel(
            ("shape", "rate"),
            k.inverse_gamma_log_density,
            k.inverse_gamma_sample,
            mean=k.inverse_gamma_mean,
            variance=k.inverse_gamma_variance,
            mode=lambda a, r: r / (_f(a) + 1),
            cdf=lambda x, a, r: special.gammaincc(a, r / np.maximum(x, 1e-308)),
            sf=lambda x, a, r: special.gammainc(a, r / np.maximum(x, 1e-308)),
        ),
        (Form(("shape", "rate")), Form(("shape", "scale"), lambda a, s: (a, s))),
    ),
    Record(
        "Weibull",
        Kernel(
            ("shape", "scale"),
            k.weibull_log_density,
            k.weibull_sample,
            mean=lambda a, s: s * special.gamma(1 + 1 / _f(a)),
            variance=k.weibull_variance,
            mode=lambda a, s: s * np.maximum(1 - 1 / _f(a), 0) ** (1 / _f(a)),
            cdf=lambda x, a, s: -np.expm1(-((np.maximum(x, 0) / _f(s)) ** a)),
            sf=lambda x, a, s: np.exp(-((np.maximum(x, 0) / _f(s)) ** a)),
        ),
        (Form(("shape", "scale")),),
    ),
    Record(
        "InverseGaussian",
        Kernel(
            ("mean", "shape"),
            k.inverse_gaussian_log_density,
            k.inverse_gaussian_sample,
            mean=lambda m, a: m + 0 * _f(a),
            variance=lambda m, a: _f(m) ** 3 / a,
            mode=k.inverse_gaussian_mode,
            cdf=k.inverse_gaussian_cdf,
            sf=k.inverse_gaussian_sf,
        ),
        (Form(("mean", "shape")),),
    ),
    Record(
        "Beta",
        Kernel(
            ("a", "b"),
            k.beta_log_density,
            k.beta_sample,
            mean=lambda a, b: a / (_f(a) + b),
            variance=k.beta_variance,
            mode=k.beta_mode,
            cdf=lambda x, a, b: special.betainc(a, b, np.clip(x, 0, 1)),
            sf=lambda x, a, b: special.betainc(b, a, 1 - np.clip(x, 0, 1)),
        ),
        (Form(("a", "b")),),
    ),
)
