"""Imports in fresh processes: emdsl beside numpy, a generated module beside numpy and scipy.

A module is measured twice: as from its second import on, when Python has its bytecode beside it, and as at its
first, when Python compiles it too.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import emdsl
from benchmarks.timing import MODELS, Line

ROUNDS = 31
BARE = "import numpy, scipy.linalg, scipy.special"


def cost(*statements: str, path: str = "", rounds: int = ROUNDS) -> list[float]:
    """Median seconds of each statement, run in fresh processes by turns; bytecode is kept, as by default."""
    times: list[list[float]] = [[] for _ in statements]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    for _ in range(rounds):
        for i, statement in enumerate(statements):
            script = f"import sys, time\nsys.path.insert(0, {path!r})\nstart = time.perf_counter()\n{statement}\n"
            script += "print(time.perf_counter() - start)"
            command = [sys.executable, "-c", script]
            out = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
            times[i].append(float(out.stdout))
    return [median(t) for t in times]


def run() -> list[Line]:
    numpy, ours = cost("import numpy", "import emdsl")
    lines = [Line("import emdsl, beyond numpy", "", None, (ours - numpy) * 1e3, "300 ms")]
    with tempfile.TemporaryDirectory() as folder:
        emdsl.compile(str(MODELS / "old_faithful.em")).write(str(Path(folder) / "generated_fitter.py"))
        first = "sys.dont_write_bytecode = True; import generated_first"
        (Path(folder) / "generated_first.py").write_text((Path(folder) / "generated_fitter.py").read_text())
        cost("import generated_fitter", path=folder, rounds=1)
        peers, later, fresh = cost(BARE, "import generated_fitter", first, path=folder)
    lines.append(Line("import a generated module", "numpy and scipy", peers * 1e3, later * 1e3, "1x"))
    lines.append(Line("the same, its first import", "numpy and scipy", peers * 1e3, fresh * 1e3, ""))
    return lines
