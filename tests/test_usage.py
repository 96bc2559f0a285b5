"""The page on usage does what it says: its Python is run in order, and so are its commands."""

from __future__ import annotations

import re
import shlex
import shutil
import warnings
from glob import glob
from pathlib import Path
from typing import Any

import pytest
from gallery import ROOT

import emdsl
from emdsl.cli import run

PAGE = (ROOT / "docs" / "usage.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The gallery alone in a directory that may be written to."""
    shutil.copytree(ROOT / "models", tmp_path / "models")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.filterwarnings("ignore")  # one iteration does not converge
def test_the_python_runs(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    for number, block in enumerate(blocks("python")):
        exec(compile(block, f"usage.md, block {number}", "exec"), names)  # noqa: S102
    assert names["fit"].converged_ and abs(names["fit"].log_likelihood_ + 1130.263960) < 1e-5
    assert "The update of cov" in capsys.readouterr().out


def test_the_commands_run(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = blocks("sh")
    for line in block.splitlines():
        words = [w for word in shlex.split(line)[1:] for w in (sorted(glob(word)) if "*" in word else [word])]
        assert run(words) == 0, (line, capsys.readouterr().err)
    assert {"fit.json", "derivation.tex", "faithful_fitter.py", "drawn.csv"} <= {p.name for p in tree.iterdir()}
    assert "-2467.405" in capsys.readouterr().out


def test_compile_warns_of_what_nothing_uses() -> None:
    text = "model M\nparam a : real\nparam b : positive\n{}for n in N:\n    observed x[n] ~ Normal(a, 1)\n"
    with pytest.warns(emdsl.ModelWarning, match="nothing uses the param `b`(.|\n)*nothing uses the latent `u`") as told:
        emdsl.compile(text=text.format("latent u ~ Normal(0, 1)\n"))
    assert len(told) == 1 and told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        emdsl.compile(text=text.replace("param b : positive\n{}", ""))
