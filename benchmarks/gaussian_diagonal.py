"""Gaussian mixture, diagonal covariances, N=1e6 D=8 K=16, beside scikit-learn: time of an iteration."""

from benchmarks.mixtures import compare
from benchmarks.timing import Line


def run() -> list[Line]:
    work = "Gaussian mixture, diagonal, N=1e6 D=8 K=16"
    return compare(work, "diagonal_gaussian_mixture.em", "diag", 1_000_000, 8, 16, 10, "8x")
