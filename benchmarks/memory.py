"""Peak memory of a fit (Linux), beyond what the process held with the data in it: each in its own process."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.timing import MODELS, Line

MEASURE = """
import sys
import numpy as np, emdsl
rng = np.random.default_rng(0)
model = emdsl.compile(sys.argv[1])
def peak():  # ru_maxrss would start from the parent's
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024
columns = {columns}
fitter = model.fitter(max_iter={iterations}, tol=0, seed=0, K={classes})
fitter.fit({{name: column[:1000] for name, column in columns.items()}})
before = peak()
fitter.fit(columns)
print(peak() - before)
"""

MILLION = {
    "Gaussian mixture, full, D=10 K=10": ("old_faithful.em", 10, "{'x': rng.normal(size=(1_000_000, 10))}"),
    "Gaussian mixture, diagonal, D=8 K=16": (
        "diagonal_gaussian_mixture.em",
        16,
        "{'x': rng.normal(size=(1_000_000, 8))}",
    ),
    "Poisson mixture, K=5": ("poisson_mixture.em", 5, "{'y': rng.poisson(5, 1_000_000)}"),
    "latent classes, 20 items, K=5": ("latent_classes.em", 5, "{'x': rng.integers(0, 2, (1_000_000, 20))}"),
}
CHAIN = "{'u': rng.normal(size=(100_000, 2)), 'y': rng.poisson(5, 100_000)}"


def measured(work: str, goal: str, file: str, classes: int, columns: str, iterations: int) -> Line:
    """One row: the peak of a fit, in a process of its own."""
    script = MEASURE.format(columns=columns, classes=classes, iterations=iterations)
    command = [sys.executable, "-c", script, str(MODELS / file)]
    out = subprocess.run(command, capture_output=True, text=True, check=True)
    return Line(work, "", None, float(out.stdout), goal, unit="MB")


def run() -> list[Line]:
    lines = [measured(f"{work}, N=1e6", "200 MB", *given, 2) for work, given in MILLION.items()]
    work = "chain with transitions that differ by row, T=1e5 K=10"  # T x K are 8 MB, T x K x K 80
    return [*lines, measured(work, "T x K", "input_output_hmm.em", 10, CHAIN, 1)]
