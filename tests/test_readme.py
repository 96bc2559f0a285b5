"""The README shows what happens: its model, its equations, its output, its Python."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gallery import ROOT, compiled, matrix
from test_packaging import readme_commands

from emdsl.cli import run

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_the_model_is_the_gallery_s() -> None:
    (shown,) = blocks("em")
    file = (ROOT / "models" / "old_faithful.em").read_text(encoding="utf-8")
    assert shown == file[file.index("model ") :]
    assert len([line for line in shown.splitlines() if line]) <= 10


def test_the_equations_are_the_derivation_s() -> None:
    derived = " ".join(str(compiled("old_faithful").derivation).split())
    shown = [" ".join(equation.split()) for equation in re.split(r"\n+(?=\S)", blocks("text")[0])]
    assert len(shown) == 4
    assert [equation for equation in shown if equation not in derived] == []


def numbers_apart(text: str) -> tuple[str, list[float]]:
    """The words with every decimal number replaced by a mark, and the numbers."""
    pattern = r"-?\d+\.\d+"
    return " ".join(re.sub(pattern, "#", text).split()), [float(n) for n in re.findall(pattern, text)]


def test_the_output_is_the_command_s(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    assert run(readme_commands()[0].split(" && emdsl ")[1].split()) == 0
    output = capsys.readouterr().out
    shown, printed = blocks("text")[1], output[: output.index("\nAIC") + 1]
    assert numbers_apart(shown)[0] == numbers_apart(printed)[0]
    np.testing.assert_allclose(numbers_apart(shown)[1], numbers_apart(printed)[1], rtol=1e-5)
    assert "-1130.26396" in printed and "converged" in output


@pytest.mark.filterwarnings("ignore")
def test_the_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = blocks("python")
    x = matrix("faithful", "eruptions", "waiting")
    written = tmp_path / "faithful_fitter.py"
    names: dict[str, Any] = {"x": x}
    monkeypatch.chdir(ROOT)
    exec(code.replace("faithful_fitter.py", str(written)), names)  # noqa: S102
    assert names["fit"].params_["mean"].shape == (3, 2)
    assert written.read_text(encoding="utf-8") == names["model"].source
