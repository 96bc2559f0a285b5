"""Derivations and generated modules, word for word, one small file a model; and the modules alone, without emdsl.

After a change that is meant: `pytest tests/test_golden.py --update-golden`, and read the difference.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import emdsl

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "models"
NAMES = sorted(path.stem for path in MODELS.glob("*.em"))
HOME = str(Path(emdsl.__file__).parents[1])


@cache
def compiled(name: str) -> Any:
    return emdsl.compile(MODELS / f"{name}.em")


@pytest.mark.parametrize("name", NAMES)
def test_the_derivation_reads_as_it_did(name: str, golden: Callable[[str, str], None]) -> None:
    golden(f"{name}.txt", f"{compiled(name).derivation}\n")


@pytest.mark.parametrize("name", NAMES)
def test_the_module_reads_as_it_did(name: str, golden: Callable[[str, str], None]) -> None:
    golden(f"{name}.py", compiled(name).source)


def test_no_golden_file_is_left_over() -> None:
    found = {path.name for path in (ROOT / "tests" / "golden").iterdir()}
    assert found == {f"{name}.{end}" for name in NAMES for end in ("py", "txt")}
