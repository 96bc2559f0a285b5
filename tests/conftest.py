"""Options and fixtures of the whole suite."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

# Two workers share the machine's cores: one BLAS thread each. Must precede numpy's import.
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

# What is tested is numpy's, whether numba is installed or not; test_loops.py compares the loops that numba compiles.
os.environ.setdefault("EMDSL_NUMBA", "off")

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

settings.register_profile("emdsl", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("nightly", settings.get_profile("emdsl"), derandomize=False, max_examples=300)
settings.load_profile("emdsl")

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write tests/golden/* from what the code does now")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """`golden(name, text)`: the text must be the file's; a missing file fails; `--update-golden` writes it."""
    update = request.config.getoption("--update-golden")

    def check(name: str, text: str) -> None:
        path = GOLDEN / name
        if update:
            path.write_text(text, encoding="utf-8")
            return
        assert path.exists(), f"{path} is missing: read what the code makes, then run pytest --update-golden"
        assert text == path.read_text(encoding="utf-8"), f"{path} differs: review, then pytest --update-golden"

    return check
