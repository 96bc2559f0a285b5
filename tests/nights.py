"""A night of random models: each is a test of its own, and `python tests/nights.py FAILED.em` makes one small.

Hypothesis varies what it has just drawn, so that models that come after each other are alike, and it ends at the first
failure. A night is therefore chosen at random among ten times as many texts, and every failure of it is told.
"""

from __future__ import annotations

import random
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from strategies import models

import emdsl
from emdsl.errors import ModelError

MODELS = 300
LIMIT = 120  # seconds of a processor: the dearest certificates take a quarter


def night_models(night: int, count: int = MODELS) -> list[str]:
    """`count` different texts, the same ones for the same number."""
    # Shapes that only nights have: each is known once its file is imported.
    import odder_models  # noqa: F401
    import rarer_models  # noqa: F401
    import stranger_models  # noqa: F401
    import wider_models  # noqa: F401
    from composed_models import composed_models

    texts: dict[str, None] = {}

    @seed(night)
    @settings(max_examples=10 * count, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(models() | composed_models())
    def collect(text: str) -> None:
        texts[text] = None

    collect()
    return random.Random(night).sample(list(texts), count)


def tonight(asked: str | None) -> int:
    """The night that `--hypothesis-seed` asks for, or the one of this date."""
    return int(asked) if asked and asked.isdigit() else int(f"{date.today():%Y%m%d}")


class _Late(BaseException):
    """No `Exception`: the certificate tells of these as failed checks, and goes on."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """TimeoutError once so much of a processor's time has gone."""

    def late(*_: object) -> None:
        raise _Late

    before = signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    except _Late:
        raise TimeoutError(f"no end within {seconds} s") from None
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def failures(text: str) -> list[str]:
    """Which checks a model fails; none of a model that is refused where it stands."""
    try:
        model = emdsl.compile(text=text)
    except ModelError as refused:
        return [] if all(p.code[0] == "E" and p.span is not None for p in refused.problems) else ["a place"]
    if model.refusal is not None:
        return []
    return [f"{c.name} {c.subject}" for c in model.verify(apart=False).failures]


def fault(text: str) -> str:
    """The kinds of check that fail, or what was raised; empty for a model that is right."""
    try:
        with limited(LIMIT):
            return ", ".join(sorted({name.partition(" of ")[0] for name in failures(text)}))
    except Exception as raised:  # noqa: BLE001  (whatever it is, it is the fault)
        return type(raised).__name__


def smaller(text: str) -> str:
    """A model with the same fault, from which no line, with all that stands under it, can be taken."""
    whole, lines = fault(text), text.splitlines()
    assert whole, "this model is right"
    taken = True
    while taken:
        taken = False
        for at in reversed(range(1, len(lines))):
            if at >= len(lines):
                continue
            inner = len(lines[at]) - len(lines[at].lstrip())
            under = at + 1
            while under < len(lines) and len(lines[under]) - len(lines[under].lstrip()) > inner:
                under += 1
            rest = lines[:at] + lines[under:]
            if fault("\n".join(rest) + "\n") == whole:
                lines, taken = rest, True
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(smaller(Path(sys.argv[1]).read_text()))
