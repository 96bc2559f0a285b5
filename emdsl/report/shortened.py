"""Names too long for a page, in equations: each by the first letters of its words, and a legend."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from emdsl.derive.algebra.made import STATISTIC
from emdsl.report import formula as f
from emdsl.report.formula import Formula
from emdsl.report.page import Say, Show, Step, shown_names
from emdsl.report.walking import rebuilt

LONG = 24  # letters of a name that equations hold as it is
ALONE = 8  # letters that are left of a name of one word


def shortened(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps as they are printed: no name in an equation longer than `LONG`; the first step tells what is meant."""
    names = shown_names(steps)
    short = _short({n.rstrip("'") for n in names if n not in STATISTIC}, names)
    if not short:
        return tuple(steps)

    def step(e: Formula) -> Formula | None:
        if not isinstance(e, f.Name):
            return None
        if e.text not in STATISTIC:
            bare = e.text.rstrip("'")
            return f.Name(short[bare] + e.text[len(bare) :]) if bare in short else None
        text = e.text
        for name in sorted(short, key=len, reverse=True):
            text = text.replace(name, short[name])
        return f.Name(text)

    out = [replace(s, body=tuple(_line(line, rebuilt(line.formula, step)) if isinstance(line, Show) else line
                                 for line in s.body)) for s in steps]  # fmt: skip
    meant = ", ".join(f"`{short[n]}` is `{n}`" for n in sorted(short))
    legend = Say(f"Names of more than {LONG} letters are cut in the equations, and in those of statistics: {meant}.")
    return (replace(out[0], body=(*out[0].body, legend)), *out[1:])


def _line(line: Show, formula: Formula) -> Show:
    return replace(line, formula=formula)


def _short(names: Iterable[str], taken: Iterable[str]) -> Mapping[str, str]:
    """The first letters of the words of long names, told apart by numbers."""
    used, out = {*taken}, dict[str, str]()
    for name in sorted(n for n in names if len(n) > LONG):
        words = [w for w in name.split("_") if w]
        base = "".join(w[0] for w in words)[:ALONE] if len(words) > 2 else name[:ALONE]
        number = 1
        while (found := base if number == 1 else f"{base}_{number}") in used:
            number += 1
        used.add(found)
        out[name] = found
    return out
