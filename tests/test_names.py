"""Any name will do: a model whose every name is an identifier of the generated module fits as it did before."""

from __future__ import annotations

import ast
import builtins
import importlib
import keyword
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import emdsl

pytestmark = pytest.mark.filterwarnings("ignore::emdsl.runtime.data.faults.ConvergenceWarning")
RESERVED = {"for", "in", "if", "else", "and", "or", "not"}
SLOTS = (
    "weights",
    "centre",
    "slope",
    "noise",
    "shape",
    "level",
    "label",
    "covariate",
    "value",
    "tally",
    "row",
    "Rows",
    "Kinds",
)

TEXT = """
model Template
size Kinds = 2
param weights : simplex[Kinds] ~ Dirichlet(2 * ones(Kinds))
param centre[Kinds] : real
param slope : real
param noise[Kinds] : positive
param shape : positive
let level = slope * centre[1]
for row in Rows:
    given    covariate[row] : real
    latent   label[row] ~ Categorical(weights)
    observed value[row] ~ Normal(centre[label[row]] + slope * covariate[row] - level + level, noise[label[row]])
    observed tally[row] ~ Poisson(shape)
"""
RNG = np.random.default_rng(4)
DATA = {
    "covariate": RNG.normal(size=40),
    "value": np.concatenate([RNG.normal(-3, 1, 15), RNG.normal(2, 0.5, 25)]),
    "tally": RNG.poisson(3.0, 40),
}
START = {"weights": [0.5, 0.5], "centre": [-2.0, 1.0], "slope": 0.1, "noise": [1.0, 2.0], "shape": 2.0}


def renamed(names: dict[str, str]) -> str:
    return re.sub(r"[A-Za-z_]\w*", lambda m: names.get(m[0], m[0]), TEXT)


OURS = {
    "expectations",
    "e_step",
    "m_step",
    "log_prior",
    "posterior",
    "log_likelihood_rows",
    "initial",
    "prepare",
    "reference",
}


@cache
def identifiers() -> list[str]:
    """Names at the top of the generated module and inside its functions of this model; Python's keywords, builtins."""
    found = set(keyword.kwlist) | set(dir(builtins))
    for node in ast.parse(emdsl.compile(text=TEXT).source).body:
        if isinstance(node, ast.FunctionDef) and node.name in OURS:
            found |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} | {n.arg for n in node.args.args}
        found |= {node.name} if isinstance(node, ast.FunctionDef | ast.ClassDef) else set()
        found |= {alias.asname or alias.name for alias in getattr(node, "names", [])}
    found = {n for n in found if re.fullmatch(r"[A-Za-z]\w*", n) and not re.search(r"(Error|Warning)$", n)}
    return sorted(found - RESERVED - set(SLOTS))


def history(names: dict[str, str]) -> list[float]:
    data = {names.get(k, k): v for k, v in DATA.items()}
    start = {names.get(k, k): v for k, v in START.items()}
    return list(emdsl.compile(text=renamed(names)).fitter(max_iter=2, tol=0).fit(data, init=start).history_)


@cache
def plain() -> list[float]:
    """What every other spelling must give."""
    return history({})


def test_every_identifier() -> None:
    """All of them, thirteen at a time, each time in other places."""
    names = identifiers()
    assert len(names) > 200
    for start in range(0, len(names), len(SLOTS)):
        chosen = names[start : start + len(SLOTS)]
        slots = [SLOTS[(i + start // len(SLOTS)) % len(SLOTS)] for i in range(len(chosen))]
        mapping = dict(zip(slots, chosen, strict=True))
        assert history(mapping) == pytest.approx(plain(), rel=1e-9), mapping


def test_every_local_and_key_as_the_name_of_data() -> None:
    """Data are read in every function and kept beside what a module prepares: no local or key may be their name."""
    derived = emdsl.compile(text=TEXT).source.partition("# -------------------- ")[0]
    found = set()
    for node in (n for f in ast.parse(derived).body if isinstance(f, ast.FunctionDef) for n in ast.walk(f)):
        match node:
            case ast.Name(id=name) | ast.Constant(value=str(name)) if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
                found.add(name)
    names = sorted(found - RESERVED - set(SLOTS))
    assert {"log_likelihood", "features"} <= set(names)
    for start in range(0, len(names) - 2, 3):
        mapping = dict(zip(("value", "covariate", "tally"), names[start : start + 3], strict=True))
        assert history(mapping) == pytest.approx(plain(), rel=1e-9), mapping


@pytest.mark.filterwarnings("ignore")  # xdist cannot carry a warning of a generated module
@pytest.mark.parametrize("name", ["Bound", "Estimator", "SPEC", "np", "self", "class", "initial", "dict", "float"])
def test_a_model_s_name_hides_nothing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module's class has the model's name, or that name and underscores; either way it fits."""
    emdsl.compile(text=TEXT.replace("Template", name)).write(tmp_path / f"generated_{name}.py")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module(f"generated_{name}")
    (made,) = [c for c in vars(module).values() if isinstance(c, type) and c.__bases__ == (module.Estimator,)]
    assert made.__name__.rstrip("_") == name
    assert made(max_iter=2, tol=0).fit(DATA, init=START).history_ == pytest.approx(plain(), rel=1e-9)


CLASHES = {  # what functions and tables of a module are called in which data are read
    "measurement_error": (("a", "e_step_once"), {"x": [[1, 2.0], [2, 3], [4, 3]], "y": [1, 2.0, 4]}),
    "blood_groups": (("phenotype", "table0"), {"phenotype": [0, 1, 2, 3, 1]}),
    "input_output_hmm": (("u", "edges_of_z"), {"u": np.ones((4, 1)), "y": [1, 2, 0, 3]}),
    "bayesian_gaussian_mixture": (("a0", "factor_of_z"), {"x": np.eye(3)[:, :1] + 1}),
}


@pytest.mark.parametrize("name", CLASHES)
def test_functions_of_a_module_are_not_hidden(name: str) -> None:
    """Found by giving each model of the gallery the names of its own module: `e_step_once` and `table0` broke two."""
    (old, new), data = CLASHES[name]
    text = (Path(__file__).parents[1] / "models" / f"{name}.em").read_text(encoding="utf-8")
    as_they_were, others = (
        emdsl.compile(text=re.sub(rf"\b{old}\b", n, text)).fitter(seed=0, max_iter=1, on_degenerate="keep")
        for n in (old, new)
    )
    was = as_they_were.fit(data).history_
    assert others.fit({new if k == old else k: v for k, v in data.items()}).history_ == pytest.approx(was, rel=1e-12)


DRAWN = """model M
param beta : real
param tau : positive
for g in G:
    latent b[g] ~ Normal(0, tau)
for n in N:
    given    where[n] : index[G]
    observed y[n] ~ Poisson(log_rate = beta + b[where[n]])
infer b by saem
"""


def test_locals_of_what_draws_are_not_hidden() -> None:
    """Found by giving a model with drawn latents the names of its own module: three of them were data's, and broke."""

    def history(names: dict[str, str]) -> list[float]:
        text = re.sub(r"\w+", lambda m: names.get(m[0], m[0]), DRAWN)
        fitter = emdsl.compile(text=text).fitter(seed=0, max_iter=1, on_degenerate="keep")
        return list(fitter.fit({names.get("where", "where"): [0, 0, 1, 1, 2, 2], "y": [1, 2, 0, 3, 4, 1]}).history_)

    was = history({})
    for names in ({"tau": "by_param", "where": "log_density"}, {"tau": "gradient", "beta": "by_latent"}):
        assert history(names) == pytest.approx(was, rel=1e-12), names
