"""What a derivation says of missing cells: the Gaussian of those given the ones that were seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from emdsl.report import formula as f
from emdsl.report.formula import Formula
from emdsl.report.page import Say, Show, names_of

SEEN, MISSING = f.Word("seen"), f.Word("missing")


def part(name: str, which: Formula) -> Formula:
    """`x[seen]` or `x[missing]`."""
    return f.At(f.Name(name), (which,))


def conditional(names: Sequence[str], latents: Sequence[str], scale: Formula | None = None) -> Iterator[Say | Show]:
    """The moments of what is missing given what was seen, from J and h; `latents` are missing altogether. A `scale`
    is a factor of the precision that J and h are without."""
    hidden = f.listed([*(f.Name(n) for n in latents), *(part(n, MISSING) for n in names)])
    given = f.listed([part(n, SEEN) for n in names])
    inverse = f.Raised(_block("J", MISSING, MISSING), f.Number("-1"))
    left = f.Plus(((False, _block("h", MISSING)), (True, f.Times((_block("J", MISSING, SEEN), given)))))
    what = names_of(*names)
    where = f"`missing` stands for the cells of {what} that are missing, `seen` for the others"
    if latents:
        where = where.replace("missing,", f"missing and for {names_of(*latents)},", 1)
    beside = "" if scale is None else ", its variance without that factor,"
    yield Say(f"What was seen of {what} is held at its value ({where}). Given that, the rest is Gaussian{beside} with")
    yield Show(f.Relation("=", f.Mean(hidden, given), f.Times((inverse, left))))
    spread = f.Word("cov" if scale is None else "variance")
    yield Show(f.Relation("=", f.Apply(spread, (f.Relation("|", hidden, given),)), inverse))


def left(names: Sequence[str], of: Formula, scale: Formula | None = None) -> Iterator[Say | Show]:
    """What is left where the missing cells are integrated out: the log density of those that were seen, but for terms
    that hold neither."""
    r, m = f.Name("r"), f.of("d", MISSING)
    seen = f.listed([part(n, SEEN) for n in names])
    middle = _block("J", MISSING, MISSING)
    square = f.Times((f.Raised(r, f.Word("T")), f.Raised(middle, f.Number("-1")), r))
    constant = f.times(m, f.of("log", f.times(f.Number("2"), f.Word("pi"))))
    half = f.Over(f.Number("1"), f.Number("2"))
    volume = ((True, f.of("logdet", middle)), (False, constant))
    inner = f.Plus(((False, square), *volume))
    own = f.Times((half, f.Raised(seen, f.Word("T")), _block("J", SEEN, SEEN), seen))
    linear = f.Times((f.Raised(_block("h", SEEN), f.Word("T")), seen))
    yield Say("Integrated out they leave, with r = h[missing] - J[missing, seen] times what was seen and d(missing) "
              "the number of cells,")  # fmt: skip
    whole = f.Plus(((False, linear), (True, own), (False, f.times(half, inner))))
    if scale is not None:
        scaled = f.times(scale, f.Plus(((False, linear), (True, own), (False, f.times(half, square)))))
        free = f.times(m, f.of("log", scale))
        whole = f.Plus(((False, scaled), (False, f.times(half, f.Plus(((False, constant), (True, free), volume[0]))))))
    yield Show(f.Relation("=", f.of("A", of), whole))


def grouped() -> Say:
    return Say(
        "Elements are grouped by which cells are missing, and J[missing, missing] is inverted once for each group. "
        "The mean of a cell that was seen is its value, its covariance with any other 0."
    )


def _block(letter: str, *which: Formula) -> Formula:
    return f.At(f.Word(letter), which)
