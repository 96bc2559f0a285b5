"""Peak memory of a fit at N=1e6 (Linux), beyond what the process held with the data in it: each in its own process."""

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
{data}
fitter = model.fitter(max_iter=2, tol=0, seed=0, K={classes})
fitter.fit({{"{name}": {name}[:1000]}})
before = peak()
fitter.fit({{"{name}": {name}}})
print(peak() - before)
"""

WORK = {
    "Gaussian mixture, full, D=10 K=10": ("old_faithful.em", "x", 10, "x = rng.normal(size=(1_000_000, 10))"),
    "Gaussian mixture, diagonal, D=8 K=16": (
        "diagonal_gaussian_mixture.em",
        "x",
        16,
        "x = rng.normal(size=(1_000_000, 8))",
    ),
    "Poisson mixture, K=5": ("poisson_mixture.em", "y", 5, "y = rng.poisson(5, 1_000_000)"),
    "latent classes, 20 items, K=5": (
        "latent_classes.em",
        "x",
        5,
        "x = rng.integers(0, 2, (1_000_000, 20))",
    ),
}


def run() -> list[Line]:
    lines = []
    for work, (file, name, classes, data) in WORK.items():
        script = MEASURE.format(data=data, name=name, classes=classes)
        out = subprocess.run(
            [sys.executable, "-c", script, str(MODELS / file)], capture_output=True, text=True, check=True
        )
        lines.append(Line(f"{work}, N=1e6", "", None, float(out.stdout), "200 MB", unit="MB"))
    return lines
