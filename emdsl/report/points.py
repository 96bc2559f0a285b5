"""Where the points of a quadrature lie, and what volumes they stand for."""

from __future__ import annotations

from collections.abc import Iterator, Set

from emdsl.derive.joint.factors import Cloud, LogJoint
from emdsl.derive.posteriors.quadrature import bounded
from emdsl.derive.posteriors.slopes import components
from emdsl.report import formula as f
from emdsl.report.formula import Formula
from emdsl.report.page import Say, Show

TWO, STEP = f.Number("2"), f.Word("delta")
SPELT = ("uUyYrR", "vVsSqQ", "xXzZtT", "wWgGpP", "mMcCbB", "LHGFKA")  # the first of each that is not the model's


def placed(cloud: Cloud, joint: LogJoint, letter: str, taken: Set[str]) -> Iterator[Say | Show]:
    """The points and the logs of their volumes, under the rule that they are placed by; in letters not `taken`."""
    free = [next((c for c in letters if c not in {*taken, letter}), letters[0]) for letters in SPELT]
    point, at, node, weight, mode, width = (f.Name(c) for c in free)
    u, v, x, w = (f.Nth(e, (f.Name(letter),)) for e in (point, at, node, weight))
    wide = f.Times((f.Root(TWO), width))
    scale = f.of("log" if len(components(cloud, joint)) == 1 else "logdet", wide)
    log_step = f.of("log", STEP)
    line = f"`{point.text}` is on the whole line, the Jacobian counted"
    top = f"`{mode.text}` is the mode of this log joint for each element, "
    if cloud.shared:
        yield Say("The points are evenly spaced and the same for all elements (the trapezoidal rule):")
        first = f.Nth(point, (f.Number("0"),))
        yield from _shown(u, f.plus(first, f.Times((f.Name(letter), STEP))), log_step)
        yield Say("They span the modes of elements, with eight of their widths and a quarter more.")
    elif cloud.bends:
        nodes = f"The points are those of Gauss and Legendre, `{at.text}` with weights `{weight.text}`, on panels "
        yield Say(f"{nodes}from end to end of where the density is, cut again at each place where it bends:")
        value = f.plus(mode, f.Times((wide, f.of("sinh", v))))
        yield from _shown(u, value, f.plus(f.of("log", w), f.of("log", f.of("cosh", v)), scale))
        top = f"`{mode.text}` is the highest of the points before, `{width.text}`² the inverse of minus the second "
        yield Say(f"{top}derivative there. Of a latent with bounds {line}, and √2 `{width.text}` is 1.")
    elif bounded(cloud, joint):
        yield Say(f"The points are those of the doubly exponential rule, at `{at.text}` evenly spaced by δ:")
        value = f.plus(mode, f.Times((wide, f.of("sinh", v))))
        yield from _shown(u, value, f.plus(f.of("log", f.of("cosh", v)), scale, log_step))
        yield Say(f"{line}; {top}`{width.text}`² the inverse of minus its second derivative there.")
        if cloud.kinks:
            yield Say("Each piece between two places where the density bends or steps has such points of its own.")
    else:
        yield Say(f"The points are those of Gauss and Hermite, with `{node.text}` and weights `{weight.text}`:")
        volume = f.plus(f.of("log", w), f.Raised(x, TWO), scale)
        yield from _shown(u, f.plus(mode, f.Times((wide, x))), volume)
        root = f"`{width.text}` `{width.text}`ᵀ the inverse of minus its Hessian there"
        yield Say(f"{top}{root}. Of a latent with bounds {line}.")


def _shown(u: Formula, value: Formula, volume: Formula) -> Iterator[Show]:
    yield Show(f.Relation("=", u, value), part="points")
    yield Show(f.Relation("=", f.of("log", f.of("volume", u)), volume), part="points")
