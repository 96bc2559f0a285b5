"""Old Faithful, the whole fit from one start, beside scikit-learn: here all there is to measure is call overhead."""

import numpy as np

import emdsl
from benchmarks.mixtures import scikit
from benchmarks.timing import MODELS, Line, agreement, by_turns

STEPS = 20


def run() -> list[Line]:
    x = np.loadtxt(MODELS / "data" / "faithful.csv", delimiter=",", skiprows=1)
    start = {"weights": np.array([0.5, 0.5]), "mean": np.array([[2.0, 55.0], [4.3, 80.0]])}
    fitter = emdsl.compile(str(MODELS / "old_faithful.em")).fitter(max_iter=STEPS, tol=0)
    cov = np.stack([np.eye(2)] * 2)

    def ours() -> float:
        return float(fitter.fit({"x": x}, init={**start, "cov": cov}).history_[-2])

    mine, other, left, right = by_turns(ours, lambda: scikit(x, start, "full", STEPS), 31)
    work = f"Old Faithful, whole fit, {STEPS} iterations"
    return [Line(work, "scikit-learn", other * 1e3, mine * 1e3, "3x", agreement(left, right))]
