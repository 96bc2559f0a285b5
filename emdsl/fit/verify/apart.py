"""A printed module run by an interpreter of its own, in which emdsl and what it needs cannot be imported."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from emdsl.fit.verify.world import Unchecked

SECONDS = 120  # an interpreter that has not answered by then is given up
CHILD = """
import importlib.util, json, sys, warnings

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("emdsl", "sympy", "lark", "click", "rich"):
            raise ImportError(f"{name} is not to be had here")

sys.meta_path.insert(0, Absent())
warnings.simplefilter("ignore")
job = json.load(open(sys.argv[2], encoding="utf-8"))
spec = importlib.util.spec_from_file_location("alone", sys.argv[1])
module = importlib.util.module_from_spec(spec)
sys.modules["alone"] = module
spec.loader.exec_module(module)
make = getattr(module, job["estimator"])(max_iter=job["steps"], tol=0, seed=0, sizes=job["sizes"])
fit = make.fit(job["data"], init=job["init"])
found = {"params": {n: v.tolist() for n, v in fit.params_.items()}, "history": list(map(float, fit.history_))}
json.dump(found, sys.stdout)
"""


def fitted_apart(source: str, job: Mapping[str, Any]) -> tuple[dict[str, Any], list[float]]:
    """Parameters and history of a fit in another process. Raises Unchecked where none can be started.

    job : `estimator` (the name of the class), `steps`, `sizes`, `data`, `init`.
    """
    with tempfile.TemporaryDirectory() as here:
        module, told = Path(here, "alone.py"), Path(here, "job.json")
        module.write_text(source, encoding="utf-8")
        told.write_text(json.dumps(job, default=_plain), encoding="utf-8")
        command = [sys.executable, "-I", "-c", CHILD, str(module), str(told)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as why:
            raise Unchecked(f"no other interpreter could be run: {why}") from None
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["the module alone ended without a word"])[-1])
    found = json.loads(done.stdout)
    return found["params"], found["history"]


def _plain(value: Any) -> Any:
    """Arrays as nested lists: numbers come back to the last digit."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else list(value)
