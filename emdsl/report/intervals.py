"""The moments of posteriors that no linear arguments give: a Normal cut to an interval, a Wishart."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from fractions import Fraction
from math import inf

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
    named = {n: f.Apply(f.Word(n), (latent,)) for n in ("low", "high", "precision", "mean", "sd", "alpha", "beta")}
    precision = tidy(x.mul(x.num(-2), naturals.get("square", x.ZERO)), t.known)
    apart = any(c.apart for c in block.cuts)
    outside = " Where low is the larger one, it lies outside: below high, or above low." if apart else ""
    yield Say(f"It is cut to the interval that the conditions on it leave.{outside} So q is Normal, cut at low and at "
              "high, with")  # fmt: skip
    both = tidy(lower, t.known), tidy(upper, t.known)
    found = [t.of(value, names) for value in both]
    if long := any(measure(end) > READABLE for end in found):
        found = [f.of(end, f.Relation("|", latent, f.Word("allowed"))) for end in ("inf", "sup")]
    for name, end in zip(("low", "high"), found, strict=True):
        yield Show(f.Relation("=", named[name], end), part="ends")
    if long:
        yield Say("over the values at which the log joint above is not -∞; the code finds them case by case. With")
    scale = _scale(precision, t)
    sd: Formula = named["sd"]
    variance: Formula = f.Raised(sd, TWO)
    if scale is None:
        yield Show(f.Relation("=", named["precision"], t.of(tidy(precision, t.known), names)))
    else:
        sd, variance = (t.of(tidy(x.power(scale, x.num(n)), t.known), names) for n in (1, 2))
    linear = naturals.get("id", x.ZERO)
    top = t.of(linear, names)
    mean = f.under(top, named["precision"])
    if not isinstance(precision, x.Add):  # one density alone: its own mean
        mean = t.of(tidy(x.mul(linear, x.power(precision, x.num(-1))), t.known), names)
    yield Show(f.Relation("=", named["mean"], mean))
    if scale is None:
        yield Show(f.Relation("=", sd, f.Over(ONE, f.Root(named["precision"]))))
    yield from map(Show, ends(named, sd))
    yield Say("Its moments are (Johnson, Kotz and Balakrishnan 1994, section 13.10.1)")
    first, second = between(named, sd, variance, apart)
    yield Show(f.Relation("=", f.Mean(latent, given), first))
    if "square" in read:
        yield Show(f.Relation("=", f.Mean(f.Raised(latent, TWO), given), second))
    cases = [] if apart or long else list(_in_cases(*both, f.Mean(latent, given), named, sd, t, names))
    left = "Summed out it leaves, beside the terms without it,"
    if block.normalised:
        left = "Of its density exp A lies between the ends:"
    yield Say(f"where what is infinite has density 0. {left}" if not cases else "where what is infinite has density 0.")
    yield from (*cases, Say(left)) if cases else ()
    mass = f.of("log", inside(named, apart))
    within = mass if block.normalised else f.plus(*_of_the_line(named, scale, sd, variance), mass)
    yield Show(f.Relation("=", f.of("A", of), within))
    if not apart and _met(lower, upper):
        whole = text(latent)
        yield Say(
            f"Where low and high are the same, {whole} is seen itself: it is its mean, and A "
            + ("its log density there." if block.normalised else "the value of its terms.")
        )


def _of_the_line(a: Mapping[str, Formula], scale: Expr | None, sd: Formula, variance: Formula) -> tuple[Formula, ...]:
    """The log of the integral without ends, added up."""
    half, square = f.Over(ONE, TWO), f.Raised(a["mean"], TWO)
    height = f.times(half, square) if sd == ONE else f.Over(square, f.times(TWO, variance))
    root = isinstance(scale, x.Pow)
    width = () if sd == ONE else (f.times(half, f.of("log", variance)) if root else f.of("log", sd),)
    return height, *width, f.times(half, f.of("log", f.times(TWO, f.Word("pi"))))


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


def _scale(precision: Expr, t: Typeset) -> Expr | None:
    """The standard deviation, where one density alone tells it by a name or a number."""
    scale = tidy(x.power(precision, x.num(Fraction(-1, 2))), t.known)
    bare = scale.base if isinstance(scale, x.Pow) and scale.exponent == x.HALF else scale
    return scale if isinstance(bare, El | x.Num) else None


def _in_cases(
    lower: Expr, upper: Expr, whole: Formula, a: Mapping[str, Formula], sd: Formula, t: Typeset, names: Names
) -> Iterator[Say | Show]:
    """What the mean comes to where, in each of two cases, one end is infinite."""
    match lower, upper:
        case x.Where(cond, low, other), x.Where(same, high, rest) if cond == same:
            here, there = (_beside_one(*pair, a, sd) for pair in ((low, high), (other, rest)))
            if here is not None:
                yield Say(f"So where {text(t.condition(cond, names))}")
                yield Show(f.Relation("=", whole, here))
            if here is not None and there is not None:
                yield Say("and elsewhere")
                yield Show(f.Relation("=", whole, there))


def _beside_one(low: Expr, high: Expr, a: Mapping[str, Formula], sd: Formula) -> Formula | None:
    """`m + s φ(α) / (1 - Φ(α))` above an end, `m - s φ(β) / Φ(β)` below one, 0 written out; None where both are finite,
    or neither is."""
    above, below = high == x.Num(inf), low == x.Num(-inf)
    if above == below:
        return None
    density, mass = f.of("phi", a["alpha" if above else "beta"]), f.of("Phi", a["alpha" if above else "beta"])
    mass = f.less(ONE, mass) if above else mass
    if (low if above else high) == x.ZERO:
        mean = _over(a["mean"], sd)
        density, mass = f.of("phi", mean), f.of("Phi", mean if above else f.Plus(((True, mean),)))
    return f.Plus(((False, a["mean"]), (not above, f.Over(f.times(sd, density), mass))))


def _over(a: Formula, sd: Formula) -> Formula:
    """In standard deviations."""
    return a if sd == ONE else f.Over(a, sd)


def ends(a: Mapping[str, Formula], sd: Formula) -> Iterator[Formula]:
    """The two ends in standard deviations from the mean."""
    for letter, end in (("alpha", "low"), ("beta", "high")):
        yield f.Relation("=", a[letter], _over(f.less(a[end], a["mean"]), sd))


def inside(a: Mapping[str, Formula], apart: bool = False) -> Formula:
    """The mass between the ends, or outside of them where the lower one is the larger."""
    mass = f.less(f.of("Phi", a["beta"]), f.of("Phi", a["alpha"]))
    return f.plus(mass, f.Bracket(f.Relation(">", a["low"], a["high"]))) if apart else mass


def between(a: Mapping[str, Formula], sd: Formula, variance: Formula, apart: bool = False) -> tuple[Formula, Formula]:
    """The mean and the mean square between the ends, or outside of them."""
    at_low, at_high = f.of("phi", a["alpha"]), f.of("phi", a["beta"])
    first = f.plus(a["mean"], f.Over(f.times(sd, f.less(at_low, at_high)), inside(a, apart)))
    far = f.less(
        f.Times((f.plus(a["low"], a["mean"]), at_low)), f.Times((f.plus(a["high"], a["mean"]), at_high))
    )  # fmt: skip
    square = f.plus(f.Raised(a["mean"], TWO), variance, f.Over(f.times(sd, far), inside(a, apart)))
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
