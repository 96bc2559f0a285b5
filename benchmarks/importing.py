"""Imports in fresh processes: emdsl beside numpy, a generated module beside the numpy and scipy that it imports.

A module's import is timed in the process that has just imported numpy and scipy, so that a noisy machine disturbs
both alike: with bytecode beside it, as from its second import on, and without, as at its first.
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

ROUNDS = 15


def process(*statements: str, path: str = "") -> list[float]:
    """Seconds of statements one after the other in one fresh process, with bytecode kept as Python does by default."""
    script = ["import sys, time", f"sys.path.insert(0, {path!r})"]
    for statement in statements:
        script += ["start = time.perf_counter()", statement, "print(time.perf_counter() - start)"]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", "\n".join(script)]
    out = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return [float(line) for line in out.stdout.split()]


def run() -> list[Line]:
    packages, ours = zip(*(process("import numpy") + process("import emdsl") for _ in range(ROUNDS)), strict=True)
    beyond = max(median(ours) - median(packages), 0.0)
    lines = [Line("import emdsl, beyond numpy", "", None, beyond * 1e3, "300 ms")]
    with tempfile.TemporaryDirectory() as folder:
        for name in ("later", "first"):
            emdsl.compile(str(MODELS / "old_faithful.em")).write(str(Path(folder) / f"fitter_{name}.py"))
        process("import fitter_later", path=folder)  # leaves its bytecode
        peers = "import numpy, scipy.linalg, scipy.special"
        first = "sys.dont_write_bytecode = True; import fitter_first"
        for shown, statement in (("later", "import fitter_later"), ("first", first)):
            rounds = [process(peers, statement, path=folder) for _ in range(ROUNDS)]
            theirs, whole = (median(r[0] for r in rounds) * 1e3, median(sum(r) for r in rounds) * 1e3)
            goal = "1x" if shown == "later" else ""
            lines.append(Line(f"import a generated module, {shown}", "numpy and scipy", theirs, whole, goal))
    return lines
