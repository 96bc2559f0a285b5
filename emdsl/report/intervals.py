"""The moments of posteriors that no linear arguments give: a Normal cut to an interval, a Wishart."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr
from emdsl.derive.posteriors.block import Block
from emdsl.report import formula as f
from emdsl.report.formula import Formula
from emdsl.report.indices import Names
from emdsl.report.measure import measure
from emdsl.report.page import Say, Show
from emdsl.report.pieces import ONE
from emdsl.report.tidy import tidy
from emdsl.report.typeset import Typeset
from emdsl.report.unicode import text
from emdsl.report.vectors import tensor

TWO = f.Number("2")
READABLE = 240  # letters of an end, where it is shown


def cut_lines(
    lower: Expr,
    upper: Expr,
    naturals: Mapping[str, Expr],
    read: Collection[str],
    block: Block,
    t: Typeset,
    names: Names,
) -> Iterator[Say | Show]:
    """Where a Normal is cut, and those of its mean and its mean square there that anything reads."""
    latent = t.of(El(block.name, (*block.home, *block.own)), names)
    gates = t.gates(block, {}, names)
    given = f.Listed(tuple(gates)) if gates else None
    of = f.given(latent, gates)
    named = {n: f.Apply(f.Word(n), (latent,)) for n in ("low", "high", "precision", "mean", "alpha", "beta")}
    precision = tidy(x.mul(x.num(-2), naturals.get("square", x.ZERO)), t.known)
    apart = any(c.apart for c in block.cuts)
    outside = " Where low is the larger one, it lies outside: below high, or above low." if apart else ""
    yield Say(f"It is cut to the interval that the conditions on it leave.{outside} So q is Normal, cut at low and at "
              "high, with")  # fmt: skip
    found = [t.of(tidy(value, t.known), names) for value in (lower, upper)]
    if long := any(measure(end) > READABLE for end in found):
        found = [f.of(end, f.Relation("|", latent, f.Word("allowed"))) for end in ("inf", "sup")]
    for name, end in zip(("low", "high"), found, strict=True):
        yield Show(f.Relation("=", named[name], end), part="ends")
    if long:
        yield Say("over the values at which the log joint above is not -∞; the code finds them case by case. With")
    yield Show(f.Relation("=", named["precision"], t.of(tidy(precision, t.known), names)))
    linear = tidy(naturals.get("id", x.ZERO), t.known)
    top = t.of(linear, names)
    mean = f.under(top, named["precision"])
    if not isinstance(precision, x.Add):  # one density alone: its own mean
        mean = t.of(tidy(x.mul(linear, x.power(precision, x.num(-1))), t.known), names)
    yield Show(f.Relation("=", named["mean"], mean))
    yield from map(Show, ends(named))
    yield Say("Its moments are (Johnson, Kotz and Balakrishnan 1994, section 13.10.1)")
    first, second = between(named, apart)
    yield Show(f.Relation("=", f.Mean(latent, given), first))
    if "square" in read:
        yield Show(f.Relation("=", f.Mean(f.Raised(latent, TWO), given), second))
    yield Say("where what is infinite has density 0. Summed out it leaves, beside the terms without it,")
    half = f.Over(ONE, TWO)
    square = f.times(half, named["precision"], f.Raised(named["mean"], TWO))
    left = ((False, square), (True, f.times(half, f.of("log", named["precision"]))),
             (False, f.times(half, f.of("log", f.times(TWO, f.Word("pi"))))),
             (False, f.of("log", inside(named, apart))))  # fmt: skip
    yield Show(f.Relation("=", f.of("A", of), f.Plus(left)))
    if not apart and _met(lower, upper):
        whole = text(latent)
        yield Say(
            f"Where low and high are the same, {whole} is seen itself: it is its mean, and A the value of its terms."
        )


def _met(lower: Expr, upper: Expr) -> bool:
    """Whether both ends are of the same data, in some case."""
    match lower, upper:
        case x.Where(cond, then, other), x.Where(same, up, rest) if cond == same:
            return _met(then, up) or _met(other, rest)
        case x.Fn("max", parts), _:
            return any(_met(p, upper) for p in parts)
        case _, x.Fn("min", parts):
            return any(_met(lower, p) for p in parts)
    return bool(_data(lower) & _data(upper))


def _data(e: Expr) -> set[str]:
    """The data of which an end is made, but for those of conditions."""
    match e:
        case x.Where():
            return _data(e.then) | _data(e.other)
        case El(var):
            return {var}
    return {n for p in x.children(e) for n in _data(p)}


def ends(a: Mapping[str, Formula]) -> Iterator[Formula]:
    """The two ends in standard deviations from the mean."""
    for letter, end in (("alpha", "low"), ("beta", "high")):
        yield f.Relation("=", a[letter], f.Times((f.less(a[end], a["mean"]), f.Root(a["precision"]))))


def inside(a: Mapping[str, Formula], apart: bool = False) -> Formula:
    """The mass between the ends, or outside of them where the lower one is the larger."""
    mass = f.less(f.of("Phi", a["beta"]), f.of("Phi", a["alpha"]))
    return f.plus(mass, f.Bracket(f.Relation(">", a["low"], a["high"]))) if apart else mass


def between(a: Mapping[str, Formula], apart: bool = False) -> tuple[Formula, Formula]:
    """The mean and the mean square between the ends, or outside of them."""
    at_low, at_high = f.of("phi", a["alpha"]), f.of("phi", a["beta"])
    mass = f.Times((f.Root(a["precision"]), inside(a, apart)))
    first = f.plus(a["mean"], f.Over(f.less(at_low, at_high), mass))
    far = f.less(
        f.Times((f.plus(a["low"], a["mean"]), at_low)), f.Times((f.plus(a["high"], a["mean"]), at_high))
    )  # fmt: skip
    square = f.plus(f.Raised(a["mean"], TWO), f.Over(ONE, a["precision"]), f.Over(far, mass))
    return first, square


# ------------------------------------------------------------------ matrices


def matrix_lines(
    matrix: Formula, naturals: Mapping[str, Expr], block: Block, t: Typeset, names: Names
) -> Iterator[Say | Show]:
    """A Wishart's degrees of freedom and scale, and what is expected of it (Bishop 2006, B.78 to B.81)."""
    size = x.SizeN(block.own[0].dim)
    df = tidy(x.add(x.mul(x.num(2), naturals.get("logdet", x.ZERO)), size, x.ONE), t.known)
    inverse = tidy(x.mul(x.num(-2), naturals.get("id", x.ZERO)), t.known)
    shown = tensor(t, inverse, block.own, names)
    if shown is None:
        yield Say("So q is Wishart with these natural parameters; its moments and log-normaliser A are the family's.")
        return
    gates = t.gates(block, {}, names)
    given = f.Listed(tuple(gates)) if gates else None
    of = f.given(matrix, gates)
    yield Say("So q is Wishart, with")
    yield Show(f.Relation("=", f.of("df", of), t.of(df, names)))
    yield Show(f.Relation("=", f.Raised(f.of("scale", of), f.Number("-1")), shown))
    yield Say("Its log-normaliser A is the family's, and its moments are")
    other = x.fresh(block.own[0].dim)
    inner = t.letters.extend({i: names[i] for i in block.home if i in names}, (other,))
    mean, volume = wishart(f.of("df", of), f.of("scale", of), t.of(size, names), t.range(other, inner))
    yield Show(f.Relation("=", f.Mean(matrix, given), mean))
    yield Show(f.Relation("=", f.Mean(f.of("logdet", matrix), given), volume))


def wishart(
    df: Formula, scale: Formula, size: Formula, over: Sequence[tuple[Formula, Formula]]
) -> tuple[Formula, Formula]:
    """The mean, and the mean of the log determinant."""
    half = f.Over(f.less(df, over[0][0]), TWO)
    digammas = f.Big(tuple(over), None, f.of("digamma", half))
    return f.Times((df, scale)), f.plus(digammas, f.Times((size, f.of("log", TWO))), f.of("logdet", scale))
