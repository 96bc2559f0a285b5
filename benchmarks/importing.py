"""Imports in fresh processes: emdsl beside numpy, a generated module beside numpy and scipy."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import emdsl
from benchmarks.timing import MODELS, Line

ROUNDS = 11


def cost(*statements: str, path: str = "") -> list[float]:
    """Median seconds of each statement, run in fresh processes by turns."""
    times: list[list[float]] = [[] for _ in statements]
    for _ in range(ROUNDS):
        for i, statement in enumerate(statements):
            script = f"import sys, time\nsys.path.insert(0, {path!r})\nstart = time.perf_counter()\n{statement}\n"
            script += "print(time.perf_counter() - start)"
            out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
            times[i].append(float(out.stdout))
    return [median(t) for t in times]


def run() -> list[Line]:
    numpy, ours = cost("import numpy", "import emdsl")
    lines = [Line("import emdsl, beyond numpy", "", None, (ours - numpy) * 1e3, "300 ms")]
    with tempfile.TemporaryDirectory() as folder:
        emdsl.compile(str(MODELS / "old_faithful.em")).write(str(Path(folder) / "generated_fitter.py"))
        bare = "import numpy, scipy.linalg, scipy.special"
        peers, module = cost(bare, "import generated_fitter", path=folder)
    lines.append(Line("import a generated module", "numpy and scipy", peers * 1e3, module * 1e3, "1x"))
    return lines
