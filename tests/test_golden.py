"""Derivations and generated modules, word for word, one small file a model; and the modules alone, without emdsl.

After a change that is meant: `pytest tests/test_golden.py --update-golden`, and read the difference.
"""

from __future__ import annotations

import builtins
import hashlib
import json
import os
import subprocess
import symtable
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gallery import MODELS, ROOT, compiled, matrix, table, told
from module_numbers import ODD, faults, targets

import emdsl
from emdsl.generate.helpers import helper_source
from emdsl.generate.module import module_parts
from emdsl.report.derivation import Derivation
from emdsl.runtime.bundle import bundle

NAMES = sorted(path.stem for path in MODELS.glob("*.em"))
HOME = str(Path(emdsl.__file__).parents[1])
BELOW = "# -------------------- numeric helpers\n"  # what follows is the runtime's own source, the same in every module


@pytest.mark.parametrize("name", NAMES)
def test_the_derivation_reads_as_it_did(name: str, golden: Callable[[str, str], None]) -> None:
    derivation = told(name)  # without the places of lines, which move with the runtime
    golden(f"{name}.txt", f"{derivation}\n")
    assert faults(compiled(name).source, derivation) == []


@pytest.mark.parametrize("name", ODD)
def test_lines_that_compute_carry_numbers_of_equations_in_models_of_no_gallery(name: str) -> None:
    model = emdsl.compile(text=f"model M\n{ODD[name]}")
    assert faults(model.source, Derivation.of(model.derived)) == []


def test_a_number_that_is_left_out_or_wrong_is_found() -> None:
    source, derivation = compiled("gaussian_hmm").source, told("gaussian_hmm")
    assert not faults(source, derivation)
    for old, new, said in (
        ("  # (4.2)", "", "no line computes (4.2)"),
        ("  # (4.4) to (4.8)", "  # (4.4), (4.5)", "no line computes (4.7)"),
        ("  # (5.1)", "  # (5.17)", "(5.17) is no equation"),
        ("    # (8) ", "    # ", "no line computes step 8"),
    ):
        assert any(said in f for f in faults(source.replace(old, new), derivation)), old


def test_the_page_links_equations_and_lines() -> None:
    to, anchors = targets(compiled("gaussian_hmm").derivation.to_html())
    assert {"line-", "eq-5", "step-"} <= {t[: len(p)] for t in to for p in ("line-", "eq-5", "step-")}
    assert to <= anchors


@pytest.mark.parametrize("name", NAMES)
def test_the_module_reads_as_it_did(name: str, golden: Callable[[str, str], None]) -> None:
    derived, mark, runtime = compiled(name).source.partition(BELOW)
    golden(f"{name}.py", derived)
    assert mark and bundle()[1] in runtime


def test_no_golden_file_is_left_over(request: pytest.FixtureRequest) -> None:
    kept = {f"{name}.{end}" for name in NAMES for end in ("py", "txt", "svg")}
    for path in (ROOT / "tests" / "golden").iterdir():
        if path.name not in kept and request.config.getoption("--update-golden"):
            path.unlink()
        assert path.name in kept or not path.exists()


# ------------------------------------------------------------------------------------------ alone, without emdsl


def columns(name: str, *names: str) -> dict[str, list[Any]]:
    return {n: table(name)[n].tolist() for n in names}


FAITHFUL = {"x": matrix("faithful", "eruptions", "waiting")[:40].tolist()}
WEIGHTS = {"blood_groups": "abo", "genetic_linkage": "linkage", "latent_classes": "lsat6_patterns"}
WEIGHTS |= {"negative_binomial": "accidents", "zero_inflated_poisson": "accidents"}
SLEEP = {"y": table("sleepstudy")["Reaction"].tolist(), "subject": np.repeat(np.arange(18), 10).tolist()}
PLANE = {"x": matrix("stackloss", "air_flow", "water_temp", "loss").tolist()}
FLOW = table("nile")["flow"].astype(float)
COUNTS = {"y": table("earthquakes")["count"].tolist()}
DATA: dict[str, dict[str, Any]] = {
    "ar_hmm": {"y": FLOW.tolist(), "start": 1000.0, "spread": 100.0},
    "categorical_hmm": {"w": [[0, 2, 1, 2], [1], [2, 2, 0]]},
    "factorial_hmm": {"x": FLOW.tolist()},
    "gaussian_hmm": FAITHFUL,
    "gmm_hmm": {"x": matrix("faithful", "eruptions", "waiting").tolist()},
    "hidden_tree": {"x": FLOW[:30].tolist(), "parent": (np.arange(30) // 2).tolist()},
    "negative_binomial_hmm": COUNTS,
    "poisson_hmm": COUNTS,
    "semi_supervised": {**FAITHFUL, "z": (matrix("faithful", "eruptions")[:40, 0] > 3).tolist()},
    "switching_regression": {"X": [[1.0, v] for v in FLOW[:-1]], "y": FLOW[1:].tolist()},
    "crossed_effects": {
        "row": (np.arange(60) % 12).tolist(),
        "column": (np.arange(60) // 12).tolist(),
        "y": (FLOW[:60] / 100 + np.arange(60) % 12).tolist(),
    },
    "dynamic_factors": {"x": np.stack([FLOW[:-1], FLOW[1:]], 1).tolist()},
    "factor_analysis": PLANE,
    "incomplete_gaussian": PLANE,
    "growth_mixture": {
        "day": np.tile(np.arange(10.0), (18, 1)).tolist(),
        "y": table("sleepstudy")["Reaction"].reshape(18, 10).tolist(),
    },
    "linear_dynamical_system": {"x": np.stack([FLOW[:-1], FLOW[1:]], 1).tolist()},
    "arma": {"y": (FLOW / 100).tolist(), "spread": 4.0},
    "local_level": {"flow": FLOW.tolist(), "start": 1120.0, "start_s2": 1e4},
    "measurement_error": {"x": PLANE["x"], "y": table("stackloss")["loss"].tolist()},
    "mixture_of_factor_analysers": PLANE,
    "probabilistic_pca": PLANE,
    "random_intercepts": {**SLEEP, "X": [[1.0, float(d)] for d in table("sleepstudy")["Days"]]},
    "random_slopes": {**SLEEP, "day": table("sleepstudy")["Days"].tolist()},
    "structural_series": {"y": FLOW.tolist(), "start": 1120.0, "spread": 1e4},
    "bayesian_gaussian_mixture": FAITHFUL,
    "latent_dirichlet_allocation": {"w": [[0, 1, 1, 0], [2, 3, 3], [0, 1, 2, 3, 3], [1]]},
    "stochastic_block_model": {"a": (np.add.outer(np.arange(12), np.arange(12)) % 3 == 0).astype(int).tolist()},
    "poisson_factorisation": {"item": [[0, 0, 1], [2, 3, 3, 3], [1, 0, 0, 4], []]},
    "ising_denoising": {"seen": (np.add.outer(np.arange(4), np.arange(5)) > 3).astype(int).tolist()},
    "switching_linear_system": {"y": (FLOW / 100).tolist()},
    "blood_groups": columns("abo", "phenotype"),
    "dawid_skene": columns("anaesthetists", "patient", "observer", "label"),
    "diagonal_gaussian_mixture": FAITHFUL,
    "gamma_mixture": {"x": table("faithful")["waiting"].tolist()},
    "beta_mixture": {"x": [v / 340 for v in table("airquality")["solar"].tolist() if v > 0]},
    "von_mises_mixture": {"x": [0.1, -0.2, 0.4, 0.3, 2.9, 3.1, -3.0, 2.7, 0.0, -2.9]},
    "mixture_of_glms": {"X": [[1.0, v] for v in table("npreg")["x"]], "y": table("npreg")["yp"].tolist()},
    "mixture_of_experts": {"X": [[1.0, v] for v in table("npreg")["x"]], "y": table("npreg")["yn"].tolist()},
    "input_output_hmm": {**COUNTS, "u": [[1.0, (t - 53) / 53] for t in range(107)]},
    "genetic_linkage": columns("linkage", "phenotype"),
    "item_response": {"y": matrix("lsat6_patterns", "i1", "i2", "i3", "i4", "i5").tolist()},
    "logistic_random_effects": {
        **{
            n: table("cattle")[column].tolist()
            for n, column in (("group", "herd"), ("size", "size"), ("cases", "cases"))
        },
        "X": [[1.0, float(p > 0)] for p in table("cattle")["period"]],
    },
    "poisson_lognormal": {"count": table("accidents")["y"].tolist()},
    "poisson_random_effects": {
        **{n: table("epilepsy")[column].tolist() for n, column in (("group", "person"), ("y", "seizures"))},
        "X": [[1.0, float(d)] for d in table("epilepsy")["drug"]],
    },
    "probit_regression": {
        "X": [[1.0, d - 1.8] for d in table("beetles")["dose"] for _ in (0, 1)],
        "y": [0, 1] * 8,
    },
    "latent_classes": {"x": matrix("lsat6_patterns", "i1", "i2", "i3", "i4", "i5").tolist()},
    "mixture_of_regressions": {"x": table("npreg")["x"].tolist(), "y": table("npreg")["yn"].tolist()},
    "negative_binomial": columns("accidents", "y"),
    "old_faithful": FAITHFUL,
    "poisson_mixture": {"y": table("earthquakes")["count"].tolist()},
    "rayleigh_mixture": {"h": [0.3, 0.5, 1.1, 0.9, 4.0, 6.5, 5.2, 0.7]},
    "robust_regression": {
        "X": matrix("stackloss", "air_flow", "water_temp", "acid_conc").tolist(),
        "y": table("stackloss")["loss"].tolist(),
    },
    "student": columns("newcomb", "x"),
    "nonlinear_growth": columns("orange", "tree", "age", "trunk"),
    "stochastic_volatility": {"y": table("growth")["growth"][:50].tolist()},
    "student_free_df": columns("newcomb", "x"),
    "tied_gaussian_mixture": FAITHFUL,
    "word_alignment": {"source": [[0, 1], [0, 2], [3, 2]], "target": [[1, 0], [1, 2], [3, 2]]},
    "zero_inflated_poisson": columns("accidents", "y"),
}

ALONE = """
import importlib, json, sys
import numpy, scipy

ABSENT = {"emdsl", "sympy", "lark", "click", "rich", "pandas"}

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ABSENT:
            raise ImportError(f"{name} is not installed here")

sys.meta_path.insert(0, Absent())
sys.path.insert(0, sys.argv[1])
out = {}
jobs = json.load(open(sys.argv[2], encoding="utf-8"))
before = set(sys.modules)
for name in jobs:
    importlib.import_module(f"alone_{name}")
late = {"scipy", "difflib", "hashlib", "tempfile", "zipfile"}  # what is loaded where it is first read
assert not {name for name in set(sys.modules) - before if name.split(".")[0] in late}
for name, job in jobs.items():
    try:
        module = importlib.import_module(f"alone_{name}")
        if hasattr(module, "MOST_SWEEPS"):  # draws at the end, for errors that nobody reads here
            module.LAST_SWEEPS = module.MOST_SWEEPS = 8
        fitter = getattr(module, job["model"])(max_iter=4, tol=0, seed=5)
        fit = fitter.fit(job["data"], sample_weight=job["weight"])
        out[name] = [*fit.history_, fit.log_likelihood_]
    except Exception as error:
        out[name] = repr(error)
assert not (ABSENT | {"numba"}) & {name.split(".")[0] for name in sys.modules}
json.dump(out, sys.stdout)
"""


def covering() -> list[str]:
    """Few models whose modules together carry every numeric helper that some gallery module carries."""
    printed = {n: (ROOT / "tests" / "golden" / f"{n}.py").read_text(encoding="utf-8") for n in NAMES}
    carried = {n: set(helper_source(text.split('"""', 2)[2])) for n, text in printed.items()}
    left, chosen = set().union(*carried.values()), []
    while left:
        best = max(NAMES, key=lambda n: len(carried[n] & left))
        chosen.append(best)
        left -= carried[best]
    return chosen


def job(name: str) -> dict[str, Any]:
    weight = table(WEIGHTS[name])["count"].astype(float).tolist() if name in WEIGHTS else None
    return {"model": compiled(name).name, "data": DATA[name], "weight": weight}


@pytest.mark.filterwarnings("ignore::UserWarning")  # four iterations do not converge
def test_the_modules_run_where_emdsl_is_not(tmp_path: Path) -> None:
    """In an isolated process that cannot import emdsl, the written modules give what emdsl's own fitter gives."""
    jobs = {name: job(name) for name in covering()}
    for name in jobs:
        compiled(name).write(tmp_path / f"alone_{name}.py")
    (tmp_path / "jobs.json").write_text(json.dumps(jobs), encoding="utf-8")
    (tmp_path / "run.py").write_text(ALONE, encoding="utf-8")
    command = [sys.executable, "-I", str(tmp_path / "run.py"), str(tmp_path), str(tmp_path / "jobs.json")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    alone = json.loads(done.stdout)
    assert {name: said for name, said in alone.items() if isinstance(said, str)} == {}
    for name, what in jobs.items():
        assert len(alone[name]) == 6 and np.isfinite(alone[name][:5]).all()
        if any(p.method.startswith(("mcmc", "saem")) for p in compiled(name).plan.values()):
            continue  # a chain of draws carries the last bit of a sum far, and that depends on where arrays lie
        fit = compiled(name).fitter(max_iter=4, tol=0, seed=5).fit(what["data"], sample_weight=what["weight"])
        assert alone[name] == [*fit.history_, fit.log_likelihood_], name


@cache
def made_and_read(part: str) -> tuple[set[str], set[str]]:
    """The names that a part of a module makes at its top, and those that any scope of it reads from there."""
    top = symtable.symtable(part, "<part>", "exec")
    made = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()}
    read = {s.get_name() for s in top.get_symbols() if s.is_referenced()}
    inner = list(top.get_children())
    for scope in inner:
        inner += scope.get_children()
        read |= {s.get_name() for s in scope.get_symbols() if s.is_global() and s.is_referenced()}
    return made, read


@pytest.mark.parametrize("name", NAMES)
def test_every_name_that_a_module_reads_is_made_in_it(name: str) -> None:
    """Also those that a fit seldom comes to: a module that starts from posteriors had not the function for it."""
    parts = [made_and_read(part) for part in module_parts(compiled(name).derived)]
    made, read = (set[str]().union(*names) for names in zip(*parts, strict=True))
    assert read <= made | set(dir(builtins))


ELSEWHERE = """
import hashlib, sys
sys.path.insert(0, sys.argv[1])
import emdsl
for path in sys.argv[2:]:
    model = emdsl.compile(path)
    print(hashlib.sha256((model.source + str(model.derivation)).encode()).hexdigest())
"""


def fingerprint(model: Any) -> str:
    return hashlib.sha256((model.source + str(model.derivation)).encode()).hexdigest()


def test_the_same_bytes_in_every_process() -> None:
    """Nothing printed depends on the order of a set, on an address or on the time.

    Another process, with another hash seed, for four models; the golden files are one more, for all.
    """
    chosen = ("dawid_skene", "old_faithful", "student_free_df", "word_alignment")
    paths = [str(MODELS / f"{name}.em") for name in chosen]
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    command = [sys.executable, "-c", ELSEWHERE, HOME, *paths]
    done = subprocess.run(command, capture_output=True, text=True, env={"PYTHONHASHSEED": seed})
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [fingerprint(compiled(name)) for name in chosen]
