"""EM by hand for counts and categories: Poisson mixture, latent classes, zero inflation, linkage, blood groups,
Dawid and Skene, IBM model 1."""

from __future__ import annotations

import numpy as np
from scipy.special import xlogy
from scipy.stats import poisson

from oracles.paths import Array, Params, Path, climb, mixture, responsibilities


def poisson_mixture(y: Array, start: Params, steps: int) -> Path:
    """weights (K,), rate (K,)."""

    def m_step(r: Array) -> Params:
        return {"rate": r.T @ y / r.sum(0)}

    return mixture(lambda p: poisson.logpmf(y[:, None], p["rate"]), m_step, start, steps, np.ones(len(y)))


def latent_classes(x: Array, start: Params, steps: int, weight: Array) -> Path:
    """weights (K,), yes (K, I); `x` (N, I) of 0 and 1, `weight` (N,) people with each pattern."""

    def log_density(p: Params) -> Array:
        return (xlogy(x[:, None], p["yes"]) + xlogy(1 - x[:, None], 1 - p["yes"])).sum(-1)

    def m_step(r: Array) -> Params:
        return {"yes": r.T @ x / r.sum(0)[:, None]}

    return mixture(log_density, m_step, start, steps, weight)


def zero_inflated_poisson(y: Array, start: Params, steps: int, weight: Array) -> Path:
    """zero (), rate (): Lambert 1992, equations 3 to 5."""

    def expect(p: Params) -> tuple[float, object]:
        with np.errstate(divide="ignore"):
            immune = np.where(y == 0, np.log(p["zero"]), -np.inf)
        return responsibilities(np.column_stack([np.log1p(-p["zero"]) + poisson.logpmf(y, p["rate"]), immune]), weight)

    def maximise(r: object) -> Params:
        assert isinstance(r, np.ndarray)
        return {"zero": r[:, 1].sum() / r.sum(), "rate": r[:, 0] @ y / r[:, 0].sum()}

    return climb(expect, maximise, start, steps)


def genetic_linkage(count: Array, start: Params, steps: int) -> Path:
    """t (): Dempster, Laird and Rubin 1977, page 2. `count` (4,). The log-likelihood is of the animals one by one."""

    def expect(p: Params) -> tuple[float, object]:
        t = float(p["t"])
        cells = np.array([0.5 + t / 4, (1 - t) / 4, (1 - t) / 4, t / 4])
        return float(xlogy(count, cells).sum()), count[0] * (t / 4) / (0.5 + t / 4)

    def maximise(hidden: object) -> Params:
        assert isinstance(hidden, float)
        return {"t": np.asarray((hidden + count[3]) / (hidden + count[1:].sum()))}

    return climb(expect, maximise, start, steps)


def blood_groups(count: Array, start: Params, steps: int) -> Path:
    """allele (3,) of A, B, O by gene counting; `count` (4,) of A, AB, B, O."""

    def expect(p: Params) -> tuple[float, object]:
        a, b, o = p["allele"]
        groups = np.array([a * a + 2 * a * o, 2 * a * b, b * b + 2 * b * o, o * o])
        aa, bb = count[0] * a * a / groups[0], count[2] * b * b / groups[2]
        genes = np.array([2 * aa + (count[0] - aa) + count[1], 2 * bb + (count[2] - bb) + count[1], 0.0])
        genes[2] = 2 * count.sum() - genes.sum()
        return float(xlogy(count, groups).sum()), genes

    def maximise(genes: object) -> Params:
        assert isinstance(genes, np.ndarray)
        return {"allele": genes / genes.sum()}

    return climb(expect, maximise, start, steps)


def dawid_skene(patient: Array, observer: Array, label: Array, start: Params, steps: int) -> Path:
    """prevalence (K,), confusion (J, K, K) of true label, seen label: Dawid and Skene 1979, equations 2.3 to 2.5."""
    shape = (int(patient.max()) + 1, *np.shape(start["confusion"])[:2])
    seen = np.zeros((shape[0], shape[1], shape[2]))
    np.add.at(seen, (patient.astype(int), observer.astype(int), label.astype(int)), 1.0)

    def expect(p: Params) -> tuple[float, object]:
        log_joint = np.log(p["prevalence"]) + xlogy(seen[:, :, None], p["confusion"][None]).sum((1, 3))
        return responsibilities(log_joint, np.ones(shape[0]))

    def maximise(r: object) -> Params:
        assert isinstance(r, np.ndarray)
        table = np.einsum("ik,ijl->jkl", r, seen)
        return {"prevalence": r.sum(0) / r.sum(), "confusion": table / table.sum(-1, keepdims=True)}

    with np.errstate(divide="ignore"):
        return climb(expect, maximise, start, steps)


def word_alignment(pairs: list[tuple[list[int], list[int]]], start: Params, steps: int) -> Path:
    """dictionary (E, F): Brown et al. 1993, model 1 without the empty word. `pairs` are (source, target) sentences."""

    def expect(p: Params) -> tuple[float, object]:
        table, total = np.zeros_like(p["dictionary"]), 0.0
        for source, target in pairs:
            for word in target:
                share = p["dictionary"][source, word]
                total += np.log(share.mean())
                np.add.at(table, (source, word), share / share.sum())
        return float(total), table

    def maximise(table: object) -> Params:
        assert isinstance(table, np.ndarray)
        return {"dictionary": table / table.sum(-1, keepdims=True)}

    return climb(expect, maximise, start, steps)
