"""Any name that the language allows is a variable's name: above all those that generated modules use themselves."""

from __future__ import annotations

import ast
import importlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import emdsl

ROLES = ("share", "centre", "scale", "side", "height", "row", "ROWS", "KINDS")
TEXT = """
model {model}
size {KINDS} = 2
param {share}          : simplex[{KINDS}]
param {centre}[{KINDS}]: real
param {scale}[{KINDS}] : positive
for {row} in {ROWS}:
    latent   {side}[{row}]   ~ Categorical({share})
    observed {height}[{row}] ~ Normal({centre}[{side}[{row}]], {scale}[{side}[{row}]])
"""
HEIGHTS = np.concatenate([np.linspace(-1, 1, 30), np.linspace(4, 7, 20)])
NOT_NAMES = {"for", "in", "if", "else", "and", "or", "not"}


def compiled(model: str, names: tuple[str, ...]) -> Any:
    return emdsl.compile(text=TEXT.format(model=model, **dict(zip(ROLES, names, strict=True))))


@cache
def plain() -> Any:
    """The model under names that nothing else uses, fitted for two iterations."""
    return compiled("Plain", ROLES).fitter(seed=1, max_iter=2, tol=0).fit({"height": HEIGHTS})


@cache
def used_names() -> tuple[str, ...]:
    """Every identifier and every key in the functions of a generated module, and a few of the world's worst."""
    tree = ast.parse(compiled("Plain", ROLES).source.partition("# -------------------- ")[0])
    found = {"self", "lambda", "class", "None", "True", "print", "np", "E", "I", "S", "N", "Q", "beta", "gamma", "zeta"}
    for function in (n for n in tree.body if isinstance(n, ast.FunctionDef)):
        found.add(function.name)
        for node in ast.walk(function):
            match node:
                case ast.Name(id=name) | ast.arg(arg=name) | ast.FunctionDef(name=name):
                    found.add(name)
                case ast.Constant(value=str(text)) if text.isidentifier():
                    found.add(text)
    # the language's own rule: a letter first, then letters, digits, underscores
    return tuple(sorted(n for n in found - NOT_NAMES - set(ROLES) if n[0].isalpha() and n.isascii()))


def test_the_names_are_found() -> None:
    assert {"weight", "sizes", "params", "rows", "log_likelihood", "np", "float"} <= set(used_names())
    assert 60 < len(used_names()) < 300


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("shift", range(0, 8, 2))
def test_names_of_generated_code_are_free_for_models(shift: int) -> None:
    """Each such name in four of the eight roles, eight names at a time: always the same fit."""
    names = used_names()
    wrong = {}
    for start in range(0, len(names), 8):
        chosen = tuple(names[(start + (i + shift) % 8) % len(names)] for i in range(8))
        try:
            model = compiled("Renamed", chosen)
            fit = model.fitter(seed=1, max_iter=2, tol=0).fit({chosen[ROLES.index("height")]: HEIGHTS})
            same = fit.log_likelihood_ == plain().log_likelihood_
        except Exception as error:  # noqa: BLE001 (whatever it is, it is a wrong name)
            same = repr(error)
        if same is not True:
            wrong[chosen] = same
    assert wrong == {}


@pytest.mark.filterwarnings("ignore")  # max_iter is reached; xdist cannot carry a warning of a generated module
@pytest.mark.parametrize(
    "name", ["Bound", "Estimator", "SPEC", "np", "self", "class", "Any", "initial", "K", "dict", "len", "float"]
)
def test_a_model_s_name_hides_nothing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module's class has the model's name, or that name and underscores; either way it fits."""
    compiled(name, ROLES).write(tmp_path / f"generated_{name}.py")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module(f"generated_{name}")
    classes = [v for v in vars(module).values() if isinstance(v, type) and v.__bases__ == (module.Estimator,)]
    assert [c.__name__.rstrip("_") for c in classes] == [name]
    fit = classes[0](seed=1, max_iter=2, tol=0).fit({"height": HEIGHTS})
    assert fit.log_likelihood_ == plain().log_likelihood_
