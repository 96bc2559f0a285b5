"""Wrong models, each with exactly what is said about it. `--update-golden` writes the expected files anew."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from emdsl.errors import ModelError
from emdsl.families import PRELUDE
from emdsl.language import parse_families, parse_model
from emdsl.language.codes import CODES
from emdsl.language.model import Family

BAD = Path(__file__).parent / "bad"
FILES = sorted(BAD.glob("*.em"))


def said(data: bytes, file: str, families: Mapping[str, Family]) -> str:
    """Everything that is said about a text: its errors, or its warnings where it is right."""
    try:
        model = parse_model(data, file, families)
    except ModelError as error:
        return f"{error}\n"
    return "".join(w.render(model.source) + "\n" for w in model.warnings)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_what_is_said(path: Path, request: pytest.FixtureRequest) -> None:
    found = said(path.read_bytes(), path.name, PRELUDE())
    expected = path.with_suffix(".expected")
    if request.config.getoption("--update-golden"):
        expected.write_text(found, encoding="utf-8")
    assert expected.exists(), "read what is said, then run pytest --update-golden"
    assert found == expected.read_text(encoding="utf-8")
    assert found and ":" in found


def test_every_code_used_is_listed() -> None:
    import re

    import emdsl.language

    package = Path(emdsl.language.__file__).parent
    used = {c for p in package.glob("*.py") for c in re.findall(r'"([EW]0\d\d)"', p.read_text(encoding="utf-8"))}
    assert used == set(CODES)


def test_every_model_has_its_file() -> None:
    assert {p.stem for p in BAD.glob("*.expected")} == {p.stem for p in FILES}


@pytest.mark.parametrize(
    "text",
    ["model M\nlet a = 1" + " + 1" * 70_000, "model M\n# " + "x" * 1_000_001, b"model M\n# " + b"x" * 1_000_001],
    ids=["tokens", "characters", "bytes"],
)
def test_a_model_too_large(text: str | bytes) -> None:
    with pytest.raises(ModelError) as caught:
        parse_model(text, "f.em", PRELUDE())
    assert [p.code for p in caught.value.problems] == ["E008"]


@pytest.mark.parametrize("key, method", [("z", "exact; import os"), ("z)", "exact"), ("", "exact"), ("z", "mcmc(")])
def test_a_wrong_infer_argument(key: str, method: str) -> None:
    text = "model M\nfor n in N:\n    latent z[n] ~ Normal(0, 1)\n    observed x[n] ~ Normal(z[n], 1)\n"
    with pytest.raises(ModelError) as caught:
        parse_model(text, "f.em", PRELUDE(), {key: method})
    assert [p.code for p in caught.value.problems] == ["E064"]


def test_a_file_of_families_holds_nothing_else() -> None:
    with pytest.raises(ModelError, match="E017"):
        parse_families("family F(x : real | m : real) = -(x - m)^2\nparam a : real\n", "f.em")
