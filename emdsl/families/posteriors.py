"""Families that arise only as posteriors: in no declaration, but in the table like the others."""

from __future__ import annotations

import numpy as np

from emdsl.families import kernels_natural as k
from emdsl.families.records import Form, Kernel, Record

POSTERIORS: tuple[Record, ...] = (
    Record(
        # x^(p-1) exp(-(a x + b / x) / 2)
        "GeneralizedInverseGaussian",
        Kernel(
            ("p", "a", "b"),
            k.gig_log_density,
            k.gig_sample,
            mean=lambda p, a, b: k.gig_power(1, p, a, b),
            variance=lambda p, a, b: k.gig_power(2, p, a, b) - k.gig_power(1, p, a, b) ** 2,
            mode=k.gig_mode,
        ),
        (Form(("p", "a", "b")),),
    ),
    Record(
        "TruncatedNormal",
        Kernel(
            ("mean", "sd", "low", "high"),
            k.truncated_normal_log_density,
            k.truncated_normal_sample,
            mean=k.truncated_normal_mean,
            variance=k.truncated_normal_variance,
            mode=lambda mean, sd, low, high: np.clip(mean + 0 * sd, low, high),
        ),
        (Form(("mean", "sd", "low", "high")),),
    ),
)
