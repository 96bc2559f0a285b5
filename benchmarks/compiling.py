"""Cold compilation of each gallery model, in a process of its own, interpreter start and imports apart."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.timing import MODELS, Line

MEASURE = """
import sys, time
import emdsl, sympy, lark, numpy, scipy.special, scipy.linalg
import emdsl.compiler
start = time.perf_counter()
emdsl.compile(sys.argv[1]).source
print(time.perf_counter() - start)
"""


def run() -> list[Line]:
    lines = []
    for path in sorted(MODELS.glob("*.em")):
        out = subprocess.run([sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True)
        lines.append(Line(path.stem, "", None, float(out.stdout) * 1e3, "1000 ms"))
    return lines
