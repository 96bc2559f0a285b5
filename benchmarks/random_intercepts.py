"""Poisson random intercepts by SAEM, 1e4 groups of five rows, 300 iterations and their error: a whole fit."""

from __future__ import annotations

import numpy as np

import emdsl
from benchmarks.coverage_models import INTERCEPTS
from benchmarks.timing import Line, seconds

GROUPS, ROWS = 10_000, 5


def run() -> list[Line]:
    """The groups side by side; how far the estimates are from those by quadrature, in stated errors."""
    rng = np.random.default_rng(8)
    group = np.repeat(np.arange(GROUPS), ROWS)
    data = {"group": group, "y": rng.poisson(np.exp(0.5 + rng.normal(0, 0.7, GROUPS))[group])}
    text = "model Coverage" + INTERCEPTS.format(family="Poisson(log_rate = b[group[n]])")
    fitter = emdsl.compile(text=f"{text}infer b by saem\n").fitter(seed=1, max_iter=300)
    spent, fit = seconds(lambda: fitter.fit(data))
    exact = emdsl.compile(text=text).fitter(tol=1e-10).fit(data, init={n: fit.params_[n] for n in ("mu", "tau")})
    errors = fit.monte_carlo_["monte_carlo_errors"]
    off = [float((fit.params_[n] - exact.params_[n]) / errors[n]) for n in ("mu", "tau")]
    work = f"Poisson random intercepts by SAEM, {GROUPS} groups, {fit.n_iter_} iterations, whole fit"
    agree = f"{off[0]:+.1f} and {off[1]:+.1f} stated errors from quadrature; {fit.status_}"
    return [Line(work, "none", None, spent, "60 s", agree, "s")]
