"""What the certificate says: checks with their figures and tolerances, as data and as a table."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from emdsl.errors import EmdslError

Status = Literal["passed", "failed", "not checked"]


@dataclass(frozen=True)
class Check:
    """One comparison. `figure` is how far off it is, in the units of `tolerance`; `note` says why it was not made."""

    name: str
    subject: str
    status: Status
    figure: float | None = None
    tolerance: float | None = None
    note: str = ""


def largest(*figures: float) -> float:
    """The largest, at least 0; NaN where one of them is, which Python's `max` passes over."""
    return float(np.max([0.0, *figures]))


def far(a: Any, b: Any) -> float:
    """The largest difference of arrays, of 1 + the size of the second; what is infinite in both is the same."""
    a, b = np.asarray(a), np.asarray(b)
    with np.errstate(invalid="ignore"):
        return float(np.where(a == b, 0.0, np.abs(a - b) / (1 + np.abs(b))).max(initial=0.0))


def measured(name: str, subject: str, figure: float, tolerance: float, note: str = "") -> Check:
    """Passed where the figure is a number and not above the tolerance."""
    return Check(name, subject, "passed" if figure <= tolerance else "failed", float(figure), tolerance, note)


def skipped(name: str, subject: str, reason: str) -> Check:
    return Check(name, subject, "not checked", note=reason)


def reason(why: Exception) -> str:
    """What an error says, without the way out of it."""
    return why.problems[0].message if isinstance(why, EmdslError) and why.problems else str(why).split("\n")[0]


def worst(checks: Sequence[Check]) -> tuple[Check, ...]:
    """Of what was checked on several data, each comparison once: as it came out where it came out worst."""
    order = {"failed": 0, "passed": 1, "not checked": 2}
    found: dict[tuple[str, str], Check] = {}
    for c in checks:
        key, before = (c.name, c.subject), found.get((c.name, c.subject))
        rank = (order[c.status], -(c.figure or 0.0) / (c.tolerance or 1.0))
        if before is None or rank < (order[before.status], -(before.figure or 0.0) / (before.tolerance or 1.0)):
            found[key] = c
    made = {c.name for c in found.values() if c.status != "not checked"}
    whole = [c for c in found.values() if c.status != "not checked" or c.subject or c.name not in made]
    names = list(dict.fromkeys(c.name for c in checks))
    return tuple(sorted(whole, key=lambda c: names.index(c.name)))


@dataclass(frozen=True)
class Certificate:
    """The checks of one model; `passed` where none has failed and one at least was made. `print` shows the table."""

    model: str
    seed: int
    sizes: dict[str, int]
    checks: tuple[Check, ...]

    @property
    def failures(self) -> tuple[Check, ...]:
        return tuple(c for c in self.checks if c.status == "failed")

    @property
    def passed(self) -> bool:
        return not self.failures and any(c.status == "passed" for c in self.checks)

    def __bool__(self) -> bool:
        return self.passed

    def to_dict(self) -> dict[str, Any]:
        """The same facts for programs."""
        checks = [
            {"name": c.name, "subject": c.subject, "status": c.status, "figure": c.figure, "tolerance": c.tolerance,
             "note": c.note} for c in self.checks
        ]  # fmt: skip
        return {"model": self.model, "seed": self.seed, "sizes": self.sizes, "passed": self.passed, "checks": checks}

    def table(self, terminal: bool = False) -> str:
        """The table as text, in colours where a terminal shows them."""
        return render(self, colour=terminal and sys.stdout.isatty())

    def __str__(self) -> str:
        return render(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from html import escape

        from emdsl.report.notebook import table

        rows, before = [], ""
        for c in self.checks:
            numbers = [f"{v:.1e}" if v is not None else "" for v in (c.figure, c.tolerance)]
            said = f"{c.status}: {c.note}" if c.note else c.status
            said = f"<b>{escape(said)}</b>" if c.status == "failed" else escape(said)
            rows.append(("" if c.name == before else escape(c.name), escape(c.subject), *numbers, said))
            before = c.name
        head, last = escape(headline(self)), escape(verdict(self.checks, self.passed))
        return f"<div>{head}{table(('check', 'of', 'off by', 'at most', ''), rows)}{last}</div>"


def render(c: Certificate, colour: bool = False, width: int = 110) -> str:
    """The table: a line for each check, repeated names left out, then the verdict."""
    from io import StringIO

    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    styles = {"passed": "green", "failed": "bold red", "not checked": "yellow"}
    shown = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title, right, whole in (("check", False, True), ("of", False, False), ("off by", True, True),
                                ("at most", True, True), ("", False, False)):  # fmt: skip
        shown.add_column(title, justify="right" if right else "left", no_wrap=whole)
    before = ""
    for k in c.checks:
        numbers = [f"{v:.1e}" if v is not None else "" for v in (k.figure, k.tolerance)]
        word = Text(k.status, styles[k.status])
        if k.note:
            word.append(f": {k.note}", "default")
        shown.add_row(Text("" if k.name == before else k.name), Text(k.subject), *numbers, word)
        before = k.name
    out = StringIO()
    console = Console(file=out, width=width, force_terminal=colour, force_jupyter=False, highlight=False,
                      no_color=not colour)  # fmt: skip
    console.print(Text(headline(c)))
    console.print(shown)
    console.print(Text(verdict(c.checks, c.passed)))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def headline(c: Certificate) -> str:
    """Of which model, and on which data."""
    at = ", ".join(f"{n} = {v}" for n, v in c.sizes.items())
    return f"{c.model}: data drawn with seed {c.seed}" + (f", {at}" if at else "")


def verdict(checks: Sequence[Check], passed: bool) -> str:
    """Passed or failed, and how many of each."""
    count = {s: sum(c.status == s for c in checks) for s in ("passed", "failed", "not checked")}
    told = ", ".join(f"{n} {s}" for s, n in count.items() if n)
    return f"{'Passed' if passed else 'Failed' if count['failed'] else 'Nothing was checked'}: {told}."
