"""Imports in fresh processes: emdsl beside numpy, a generated module beside the numpy and scipy that it imports.

Both by turns, so that a noisy machine disturbs them alike: with bytecode beside the module, as from its second
import on, and without, as at its first. What a module reads of scipy loads where a fit first reads it.
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
PEERS = "import numpy, scipy.linalg, scipy.special"


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
    return lines + [line for model in ("old_faithful", "poisson_mixture") for line in modules(model)]


def modules(model: str) -> list[Line]:
    """One model's module: with its bytecode beside it, and without."""
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for name in ("later", "first"):
            emdsl.compile(str(MODELS / f"{model}.em")).write(str(Path(folder) / f"fitter_{name}.py"))
        process("import fitter_later", path=folder)  # leaves its bytecode
        for name in ("later", "first"):
            statement = f"sys.dont_write_bytecode = {name == 'first'}; import fitter_{name}"
            rounds = [process(PEERS, path=folder) + process(statement, path=folder) for _ in range(ROUNDS)]
            theirs, mine = (median(r[side] for r in rounds) * 1e3 for side in (0, 1))
            lines.append(Line(f"import the module of {model}, {name}", "numpy and scipy", theirs, mine, "1x"))
    return lines
