"""Each generated module of the gallery runs where emdsl, sympy and lark cannot be imported, and fits the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gallery import compiled, fit, table

pytestmark = pytest.mark.filterwarnings("ignore::emdsl.runtime.faults.ConvergenceWarning")

RUN = """
import json, sys
for name in ("emdsl", "sympy", "lark", "click", "rich", "pandas"):
    sys.modules[name] = None
import numpy as np
from importlib import import_module
sys.path.insert(0, sys.argv[1])
out = {}
for stem, (model, data, weight, options) in json.loads(sys.argv[2]).items():
    module = import_module("generated_" + stem)
    data = {k: np.array(v) for k, v in data.items()}
    est = getattr(module, model)(**options).fit(data, sample_weight=weight)
    out[stem] = [est.log_likelihood_, est.history_]
assert not {"emdsl.compiler", "pandas.core", "numba"} & set(sys.modules)
print(json.dumps(out))
"""

OPTIONS = {"max_iter": 12, "tol": 0, "seed": 5}


def data_of_gallery() -> dict[str, tuple[dict[str, list], list | None]]:
    count = table("linkage")["count"].tolist()
    faithful = np.column_stack([table("faithful")[c] for c in ("eruptions", "waiting")]).tolist()
    stack = table("stackloss")
    X = np.column_stack([stack[c] for c in ("air_flow", "water_temp", "acid_conc")]).tolist()
    return {
        "old_faithful": ({"x": faithful}, None),
        "diagonal_gaussian_mixture": ({"x": faithful}, None),
        "poisson_mixture": ({"y": table("earthquakes")["count"].tolist()}, None),
        "genetic_linkage": ({"phenotype": [0, 1, 2, 3]}, count),
        "blood_groups": ({"phenotype": table("abo")["phenotype"].tolist()}, table("abo")["count"].tolist()),
        "zero_inflated_poisson": ({"y": table("accidents")["y"].tolist()}, table("accidents")["count"].tolist()),
        "negative_binomial": ({"y": table("accidents")["y"].tolist()}, table("accidents")["count"].tolist()),
        "student_free_df": ({"x": table("newcomb")["x"].tolist()}, None),
        "robust_regression": ({"X": X, "y": stack["loss"].tolist()}, None),
        "mixture_of_regressions": ({"x": table("npreg")["x"].tolist(), "y": table("npreg")["yn"].tolist()}, None),
        "dawid_skene": ({k: table("anaesthetists")[k].tolist() for k in ("patient", "observer", "label")}, None),
        "rayleigh_mixture": ({"h": [0.5, 0.7, 1.0, 1.4, 5.0, 6.5, 8.0, 0.2]}, None),
    }


def test_modules_run_alone(tmp_path: Path) -> None:
    jobs, expected = {}, {}
    for stem, (data, weight) in data_of_gallery().items():
        compiled(stem).write(str(tmp_path / f"generated_{stem}.py"))
        jobs[stem] = (compiled(stem).name, data, weight, OPTIONS)
        est = fit(stem, {k: np.array(v) for k, v in data.items()}, weight=weight, **OPTIONS)
        expected[stem] = [est.log_likelihood_, est.history_]
    script = [sys.executable, "-I", "-c", RUN, str(tmp_path), json.dumps(jobs)]
    out = subprocess.run(script, capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stderr
    assert json.loads(out.stdout) == expected
