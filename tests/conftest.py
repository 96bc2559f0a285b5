"""Options and fixtures of the whole suite."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

# Two workers share the machine's cores: one BLAS thread each. Must precede numpy's import.
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

# Expressions live as long as the models that hold them: looking among them for rings of garbage took an eighth of the
# time of all tests, and a fifteenth where each was looked at once. It is looked for between tests alone, once so many
# objects have come, which a day's run never sees: of seven one is garbage.
gc.disable()
MANY = 20_000_000  # a worker makes half as many by day, in about 2 GB

# What is tested is numpy's, whether numba is installed or not; test_loops.py compares the loops that numba compiles.
os.environ.setdefault("EMDSL_NUMBA", "off")

# How wide and coloured a terminal is said to be, and that bugs are to be raised, is for a test to say.
for name in ("COLUMNS", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "EMDSL_DEBUG"):
    os.environ.pop(name, None)

import pytest  # noqa: E402  (after the environment)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Profiles of hypothesis, in every process that runs tests; the one that hands them out imports neither numpy."""
    profile = config.getoption("--hypothesis-profile")
    hands_out = bool(config.getoption("numprocesses")) and not hasattr(config, "workerinput")
    if profile or not hands_out:
        set_up_hypothesis(by_day=profile != "nightly")
    if profile != "nightly" and not hands_out:
        begin_alike()


def set_up_hypothesis(by_day: bool) -> None:
    """By day it draws the same examples each time, and does not read every file of the package for constants.

    It brings a plugin, for which pytest would rewrite the assertions of all of its files, in every process.
    """
    finders = sys.meta_path[:]
    sys.meta_path[:] = [f for f in finders if type(f).__module__ != "_pytest.assertion.rewrite"]
    import hypothesis.extra.numpy  # noqa: F401
    from hypothesis import HealthCheck, settings
    from hypothesis.internal.conjecture import providers

    sys.meta_path[:] = finders
    settings.register_profile("emdsl", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
    settings.register_profile("nightly", settings.get_profile("emdsl"), derandomize=False, max_examples=300)
    settings.load_profile("emdsl")
    if by_day:
        providers._get_local_constants = lambda: providers._local_constants  # empty until that function fills it


def begin_alike() -> None:
    """Fits and draws without a seed have the same one in every run by day, so that no test fails by chance."""
    import numpy as np

    from emdsl.runtime.fitting import estimator

    seeded = np.random.default_rng
    np.random.default_rng = lambda seed=None: seeded(0 if seed is None else seed)
    estimator.fresh_entropy = lambda: 0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the same model go to the same worker, which compiles it once: each takes a stretch of the list.

    What a test is about is its first parameter that is a name or has one; else it is its file.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    items.sort(key=lambda item: crc32(subject(item).encode()) % workers)


def pytest_collection_finish() -> None:
    gc.freeze()


def pytest_sessionfinish() -> None:
    gc.freeze()  # pytest looks for garbage five times before it ends


def pytest_runtest_logfinish() -> None:
    if gc.get_count()[0] > MANY:
        gc.collect()
        gc.freeze()


def subject(item: pytest.Item) -> str:
    given = getattr(item, "callspec", None)
    names = [getattr(value, "name", value) for value in given.params.values()] if given else []
    return next((n for n in names if isinstance(n, str)), item.nodeid.partition("::")[0])


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
