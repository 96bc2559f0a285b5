"""`python -m benchmarks.coverage [MODEL...] [--seeds 20] [--by-kernel]`: do stated Monte Carlo errors cover the answer?

New data and a new seed each time. The exact answer is the maximum, beside the fit, of the log-likelihood by quadrature,
a filter or a closed form. Estimates of fits that call themselves converged are counted within two of their stated
errors, parameter by parameter; a right error covers 95.4 in 100, and the root mean square of estimates off over stated
errors is 1. Parameters of one fit go together, so that twenty fits tell a rate no better than twenty numbers: of a
table of fifty rows two or three are outside of 88 to 99 in 100, or of 0.75 to 1.25, with right errors, and other seeds
tell (`--first 100`).
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import optimize

import emdsl
from benchmarks.coverage_effects import KERNELS
from benchmarks.coverage_models import CASES, Case, Data, Values


def flattened(values: Values, domains: dict[str, str]) -> Any:
    """Parameters as one vector without bounds; of a simplex of two, the logit of the first."""
    parts = []
    for n, domain in domains.items():
        v = np.asarray(values[n], float)
        if domain == "simplex":
            v = v[..., 0]
        v = np.log(v) if domain == "positive" else np.log(v / (1 - v)) if domain in ("unit", "simplex") else v
        parts.append(np.ravel(np.arctanh(v) if domain == "between" else v))
    return np.concatenate(parts)


def unflattened(t: Any, like: Values, domains: dict[str, str]) -> dict[str, Any]:
    out, at = {}, 0
    for n, domain in domains.items():
        shape = np.shape(like[n])[:-1] if domain == "simplex" else np.shape(like[n])
        size = int(np.prod(shape))
        v = t[at : at + size].reshape(shape)
        at += size
        if domain == "positive":
            v = np.exp(v)
        elif domain in ("unit", "simplex"):
            v = 1 / (1 + np.exp(-v))
            v = np.stack([v, 1 - v], -1) if domain == "simplex" else v
        out[n] = np.tanh(v) if domain == "between" else v
    return out


def domains_of(model: Any) -> dict[str, str]:
    """Of each parameter, `between` for what has two ends of its own."""
    params = [v for v in model.module.SPEC["variables"] if v["kind"] == "param"]
    return {v["name"]: v["domain"] if None in (v["lower"], v["upper"]) else "between" for v in params}


def maximum(case: Case, data: Data, start: Values, domains: dict[str, str]) -> dict[str, Any]:
    """The maximum of the log-likelihood beside `start`."""

    def loss(t: Any) -> float:
        return -case.log_likelihood(data, unflattened(t, start, domains))

    at = flattened(start, domains)
    with np.errstate(all="ignore"):
        for _ in range(2):
            at = optimize.minimize(loss, at, method="BFGS", jac="3-point", options={"gtol": 1e-6}).x
    return unflattened(at, start, domains)


def fits(name: str, method: str, seeds: range) -> Iterator[tuple[int, Any, dict[str, Any], float]]:
    """Fits by draws of data that are new for each seed, the maximum beside each, and its CPU seconds."""
    case = CASES[name]
    drawn = emdsl.compile(text=f"model Coverage{case.text}infer {case.drawn} by {method}\n")
    domains = domains_of(drawn)
    for seed in seeds:
        data = case.make(np.random.default_rng(1000 + seed))
        start = time.process_time()
        fit = drawn.fitter(seed=seed, max_iter=600).fit(data)
        spent = time.process_time() - start
        yield seed, fit, maximum(case, data, fit.params_, domains) if fit.converged_ else {}, spent


def covered(name: str, method: str, seeds: range, tell: bool = False) -> str:
    """One line: fits that converged, errors off over stated errors, and how many estimates lie within two of them."""
    off, shares, spent, converged = [], [], [], 0
    for seed, fit, best, cpu in fits(name, method, seeds):
        spent.append(cpu)
        report = fit.monte_carlo_
        if not best:
            if tell:
                print(f"    {name} {method} {seed}: {fit.message_}, {cpu:.1f} s", flush=True)
            continue
        converged += 1
        of_fit, domains = [], domains_of(fit.model)
        for n, error in report["monte_carlo_errors"].items():
            z = (fit.params_[n] - best[n]) / np.where(error > 0, error, np.nan)
            of_fit.append(np.ravel(z[..., 0] if domains[n] == "simplex" else z))
            shares.append(np.ravel(error / report["standard_errors"][n]))
        off += of_fit
        if tell:
            shown = " ".join(f"{v:.2f}" for v in np.concatenate(of_fit))
            print(f"    {name} {method} {seed}: {shown}, {report['draws']} draws, {cpu:.1f} s", flush=True)
    z = np.concatenate([*off, np.zeros(0)])
    z = z[np.isfinite(z)]
    within = f"{np.mean(np.abs(z) < 2):.1%} of {len(z)}" if len(z) else "none"
    rms = np.sqrt(np.mean(z**2)) if len(z) else np.nan
    worst = np.abs(z).max(initial=0.0)
    share = np.nanmax(np.concatenate([*shares, np.zeros(1)]))
    return (
        f"{name:20s} {method:25s} converged {converged}/{len(seeds)}, within 2: {within}, rms {rms:.2f}, "
        f"worst {worst:.1f}, largest share {share:.1%}, {np.median(spent):.1f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="*", default=[])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--methods", nargs="*", default=["saem", "mcmc"])
    parser.add_argument("--by-kernel", action="store_true", help="each kernel that a model can be drawn by")
    parser.add_argument("--tell", action="store_true", help="each fit")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    seeds = range(asked.first, asked.first + asked.seeds)
    for name in asked.models or (KERNELS if asked.by_kernel else CASES):
        for method in asked.methods:
            for kernel in KERNELS[name] if asked.by_kernel else ("",):
                how = f"{method}(kernel = {kernel})" if kernel else method
                print(covered(name, how, seeds, asked.tell), flush=True)


if __name__ == "__main__":
    main()
