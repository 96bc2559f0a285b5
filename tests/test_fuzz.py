"""A few cases of the fuzzer that runs by night, so that it is seen to run."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from fuzz import answer, mutated, written

MODELS = Path(__file__).parents[1] / "models"
TEXTS = [
    (MODELS / f"{name}.em").read_text(encoding="utf-8") for name in ("old_faithful", "student", "probit_regression")
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("made", [mutated, written])
def test_nothing_but_a_model_or_its_mistakes(made: Callable[[random.Random, list[str]], str | bytes]) -> None:
    rng = random.Random(1)
    told = [answer(made(rng, TEXTS), deep=n % 20 == 0) for n in range(60)]
    assert {"model", "wrong"} <= set(told) <= {"model", "wrong", "refused"}
