"""Right models that the planner refuses, each with exactly what is said. `--update-golden` writes the files anew."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import emdsl
from emdsl.derive.algebra.codes import CODES
from emdsl.errors import ModelError

REFUSED = Path(__file__).parent / "refused"
FILES = sorted(REFUSED.glob("*.em"))


def refusal(path: Path) -> ModelError:
    """Why a model cannot be fitted. It parses, so it compiles and samples all the same."""
    model = emdsl.compile(text=path.read_text(encoding="utf-8"))
    assert model.refusal is not None, "the planner takes this model now"
    return model.refusal


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_what_is_said(path: Path, request: pytest.FixtureRequest) -> None:
    found = refusal(path)
    expected = path.with_suffix(".expected")
    if request.config.getoption("--update-golden"):
        expected.write_text(f"{found}\n", encoding="utf-8")
    assert expected.exists(), "read what is said, then run pytest --update-golden"
    assert f"{found}\n" == expected.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_it_is_located_and_refused_again(path: Path) -> None:
    found = refusal(path)
    lines = path.read_text(encoding="utf-8").splitlines()
    for p in found.problems:
        assert p.code in CODES and 1 <= p.span.line <= len(lines)
        assert lines[p.span.line - 1][p.span.column - 1 : p.span.end_column - 1].strip()
    with pytest.raises(ModelError) as caught:
        emdsl.compile(text=path.read_text(encoding="utf-8")).fitter()
    assert caught.value.problems == found.problems


def test_every_code_used_is_listed() -> None:
    package = Path(emdsl.__file__).parent
    table = package / "derive" / "codes.py"
    files = [p for p in package.rglob("*.py") if p != table]
    used = {c for p in files for c in re.findall(r'"(E1\d\d)"', p.read_text(encoding="utf-8"))}
    assert used == set(CODES)


def test_every_model_has_its_file() -> None:
    assert {p.stem for p in REFUSED.glob("*.expected")} == {p.stem for p in FILES}


def test_the_ways_out_that_are_named_are_ways_out() -> None:
    """Of all methods those alone under which the model has a plan: effects of two crossings have no quadrature."""
    text = """
    model Crossed
    param m : real
    for g in G: latent a[g] ~ Normal(0, 1)
    for h in H: latent b[h] ~ Normal(0, 1)
    for n in N:
        given at[n] : index[G]
        given by[n] : index[H]
        observed y[n] ~ Bernoulli(logit = m + a[at[n]] + b[by[n]])
    """.replace("\n    ", "\n").rstrip(" ")
    said = str(emdsl.compile(text=f"{text}infer a, b by exact\n").refusal)
    assert "log(1 + exp(m + a[at[n]] + b[by[n]]))" in said
    ways = re.findall(r"`(infer [^`]*) \(or (mcmc)\)`", said)
    assert ways == [("infer a, b by saem", "mcmc")]
    assert "`infer a, b by meanfield`" in said and "quadrature" not in said
    assert all(emdsl.compile(text=f"{text}infer a, b by {way}\n").refusal is None for way in ("saem", "meanfield"))
    assert emdsl.compile(text=f"{text}infer a, b by quadrature\n").refusal is not None
