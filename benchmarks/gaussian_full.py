"""Gaussian mixture, full covariances, N=1e5 D=10 K=10, beside scikit-learn: time of an iteration."""

from benchmarks.mixtures import compare
from benchmarks.timing import Line


def run() -> list[Line]:
    return compare("Gaussian mixture, full, N=1e5 D=10 K=10", "old_faithful.em", "full", 100_000, 10, 10, 10, "8x")
