"""Formulas in LaTeX, for a plain article class with amsmath; every name of the user's is escaped."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from itertools import pairwise
from typing import assert_never

from emdsl.derive.algebra.made import STATISTIC
from emdsl.report import formula as f
from emdsl.report.breaking import Broken, Piece, Row, argument_rows, broken, factor_rows, sums_out, widest
from emdsl.report.formula import Formula
from emdsl.report.measure import GREEK, lowered, measure, one_below

WIDE, INNER = 82, 62  # of a display equation and of a sum within one, in characters of the plain text
SIZES = ((122, r"\scriptsize"), (102, r"\footnotesize"), (88, r"\small"))  # of what is wider than so many letters
SIGNS = {
    "=": "=", "~": r"\sim", "<": "<", ">": ">", "<=": r"\le", ">=": r"\ge", "!=": r"\ne", "and": r"\text{ and }",
    "or": r"\text{ or }", "|": r"\mid", "∝": r"\propto", "is": r"\text{ is }", "<-": r"\gets", "in": r"\in",
}  # fmt: skip
WORDS = {
    "pi": r"\pi", "log": r"\log", "exp": r"\exp", "sin": r"\sin", "cos": r"\cos", "tanh": r"\tanh", "Gamma": r"\Gamma",
    "alpha": r"\alpha", "beta": r"\beta", "delta": r"\delta",
    "digamma": r"\psi", "eta": r"\eta", "lambda": r"\lambda", "theta": r"\theta",
    "Lambda": r"\Lambda", "nu": r"\nu", "xi": r"\xi", "zeta": r"\zeta", "trigamma": r"\psi'",
    "infinity": r"\infty", "I0": "I_{0}", "I1": "I_{1}", "min": r"\min", "max": r"\max",
    "logdet": r"\log\det", "q": "q", "Q": "Q", "calligraphic Q": r"\mathcal{Q}",
    "Phi": r"\Phi", "phi": r"\phi", "p": "p",
    "A": "A", "": "", "ell": r"\ell", "∂": r"\partial",
}  # fmt: skip
TRANSPOSED = r"\top"
RAISED = {"ᵀ": rf"^{{{TRANSPOSED}}}"}
MATHS = {
    "√": r"\surd", "∫": r"\int", "′": "'", "≥": r"\ge", "≤": r"\le", "≠": r"\ne", "×": r"\times", "∞": r"\infty",
    "∂": r"\partial", "𝒬": r"\mathcal{Q}", "∝": r"\propto", "−": "-", "·": r"\cdot", "₀": "_{0}", "₁": "_{1}",
}  # fmt: skip
ACCENTS = {  # a combining sign, in mathematics and in text
    "\u0300": (r"\grave", r"\`"), "\u0301": (r"\acute", r"\'"), "\u0302": (r"\hat", r"\^"),
    "\u0303": (r"\tilde", r"\~"), "\u0308": (r"\ddot", r'\"'),
    "\u030a": (r"\mathring", r"\r"), "\u030c": (r"\check", r"\v"),
}  # fmt: skip
TALL = (r"\frac", r"\sum", r"\sqrt", r"\begin")  # what is taller than a line
LEADING = {"": "", "+": "+ ", "-": "- ", "×": r"\times "}  # signs before a line
SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': "''", "—": "---", "–": "--", "’": "'",
}  # fmt: skip


def tex(e: Formula) -> str:
    """The formula in math mode."""
    match e:
        case f.Name(name):
            return _name(name)
        case f.Number(digits):
            return digits
        case f.Word(word):
            return WORDS.get(word) or (word if f.one_letter(word) else rf"\text{{{escaped(word)}}}" if word else "")
        case f.At(base, places):
            return f"{_based(base)}_{{{', '.join(map(tex, places))}}}"
        case f.Nth(base, numbers):
            return f"{tex(base)}^{{({', '.join(map(tex, numbers))})}}"
        case f.Raised(base, exponent):
            inner = _round(tex(base)) if f.plain_log(base) else _in(base, f.ATOM)
            inner = inner if one_below(base) else f"{{{inner}}}"
            return f"{inner}^{{{TRANSPOSED if exponent == f.Word('T') else tex(exponent)}}}"
        case f.Root(body):
            return rf"\sqrt{{{tex(body)}}}"
        case f.Apply(function, (argument,)) if f.plain_log(e):
            return rf"{tex(function)} {tex(argument)}"
        case f.Apply(function, _) if rows := argument_rows(e, measure, INNER):
            lines = [", ".join(map(tex, items)) + {"|": r" \mid"}.get(end, end) for items, end in rows]
            return f"{tex(function)}{_round(_aligned(lines))}"
        case f.Apply(function, arguments):
            return f"{tex(function)}{_round(', '.join(map(tex, arguments)))}"
        case f.Bracket(body):
            return _square(tex(body))
        case f.Rows(rows):
            return r"\begin{pmatrix} " + r" \\ ".join(" & ".join(map(tex, row)) for row in rows) + r" \end{pmatrix}"
        case f.Mean(body, given):
            rest = rf" \mid {tex(given)}" if given is not None else ""
            return rf"\mathrm{{E}}{_square(tex(body) + rest)}"
        case f.Slope(of, by, _, other) if other is not None:
            return rf"\frac{{\partial^{{2}} {tex(of)}}}{{\partial {{{tex(by)}}} \, \partial {{{tex(other)}}}}}"
        case f.Slope(of, by, order):
            high = "^{2}" if order == 2 else ""
            return rf"\frac{{\partial{high} {tex(of)}}}{{\partial {{{tex(by)}}}{high}}}"
        case _:
            return _wide(e)


def _wide(e: f.Wide) -> str:
    """What does not hold together of itself: sums, products, relations."""
    match e:
        case f.Plus(terms):
            first, *rest = f.in_rows(terms, measure, INNER)
            if rest:  # within a fraction or brackets
                rows = [_terms(first), *(r if r.startswith("-") else f"+ {r}" for r in map(_terms, rest))]
                return _aligned(rows)
            return _terms(terms)
        case f.Times(factors):
            several = list(map(_line, factor_rows(e, measure, INNER)))
            return _aligned(several) if len(several) > 1 else _factors(factors)
        case f.Over(top, bottom):
            return rf"\frac{{{tex(top)}}}{{{tex(bottom)}}}"
        case f.Big():
            return f"{_sum_sign(e)} {_in(e.body, f.PRODUCT)}"
        case f.Relation(op, left, right):
            return f"{tex(left)} {SIGNS.get(op, op)} {tex(right)}"
        case f.Listed(items):
            return ", ".join(map(tex, items))
        case f.Cases(options):
            cases = (tex(v) + " & " + (tex(c) if c is not None else r"\text{otherwise}") for v, c in options)
            return r"\begin{cases} " + r" \\ ".join(cases) + r" \end{cases}"
        case _:
            assert_never(e)


def _aligned(rows: list[str]) -> str:
    return r"\begin{aligned} & " + r" \\ & ".join(rows) + r" \end{aligned}"


def display(e: Formula, label: str = "") -> str:
    """A display equation, with its number; a long one is broken over lines."""
    e = sums_out(e)
    parts = broken(e, measure, WIDE, INNER)
    small = next((size for room, size in SIZES if widest(e, parts, measure, INNER) > room), "")
    shown = _displayed(e, parts, rf" \tag{{{label}}}" if label else "")
    return rf"{{{small} {shown}}}%" if small else shown  # no space before what follows


def inside(e: Formula, label: str = "") -> str:
    """The same between signs that start and end a display, as Markdown has them."""
    e = sums_out(e)
    parts, tag = broken(e, measure, WIDE, INNER), rf" \tag{{{label}}}" if label else ""
    return (
        rf"\begin{{aligned}} {_lines(parts)} \end{{aligned}}{tag}" if parts is not None else f"{_on_one_line(e)}{tag}"
    )


def together(found: Iterable[Formula]) -> str:
    """Equations for one place, such as a cell of a notebook: several of them below one another."""
    rows = r" \\ ".join(map(inside, found))
    return rf"\begin{{gathered}} {rows} \end{{gathered}}" if r" \\ " in rows else rows


def _displayed(e: Formula, parts: Broken | None, tag: str) -> str:
    if parts is None:
        return rf"\begin{{equation*}} {_on_one_line(e)}{tag} \end{{equation*}}"
    return rf"\begin{{align*}} {_lines(parts)}{tag} \end{{align*}}"


def _on_one_line(e: Formula) -> str:
    """An equation that fits: its right side, too, where it is a sum."""
    match e:
        case f.Relation(op, left, f.Plus(terms)):
            return f"{tex(left)} {SIGNS.get(op, op)} {_terms(terms)}"
    return tex(e)


def _lines(parts: Broken) -> str:
    first, *rest = map(_line, parts.rows)
    sign = SIGNS[parts.sign]
    head = (
        rf"& {tex(parts.left)} \\ & \quad {sign} {first}" if parts.alone else f"{tex(parts.left)} {sign} {{}} & {first}"
    )
    return r" \\ & \qquad ".join([head, *rest])


def _line(row: Row) -> str:
    """A line of the right side, with the sign before it."""
    body = _terms(row.terms) if row.terms else r" \, ".join(_piece(p, p is row.pieces[-1]) for p in row.pieces)
    return f"{LEADING[row.sign]}{body}"


def _piece(p: Piece, last: bool) -> str:
    """A factor after its signs; a logarithm in the middle of a line is bracketed."""
    body = _round(tex(p.factor)) if f.plain_log(p.factor) and not last else _in(p.factor, f.PRODUCT)
    return ("-" if p.negative else "") + "".join(_sum_sign(s) + " " for s in p.sums) + body


def _sum_sign(e: f.Big) -> str:
    own = f.filtered(e)
    return rf"\sum_{{{tex(own)}}}" if own is not None else _sums(e)


def _in(e: Formula, level: int) -> str:
    return tex(e) if f.level(e) >= level else _round(tex(e))


def _round(body: str) -> str:
    """Brackets as tall as what they hold; around a line of text plain ones: stretched ones are set apart."""
    return rf"\left({body}\right)" if _tall(body) else f"({body})"


def _square(body: str) -> str:
    return rf"\left[{body}\right]" if _tall(body) else f"[{body}]"


def _tall(body: str) -> bool:
    return any(sign in body for sign in TALL)


def _based(base: Formula) -> str:
    return tex(base) if isinstance(base, f.Name | f.Word | f.Bracket | f.Rows | f.Nth) else _round(tex(base))


def _terms(terms: tuple[tuple[bool, Formula], ...]) -> str:
    out = ""
    for negative, t in terms:
        out += (" - " if negative else " + ") if out else ("-" if negative else "")
        out += _in(t, f.PRODUCT)
    return out


def _factors(factors: tuple[Formula, ...]) -> str:
    out = []
    for n, e in enumerate(factors):
        open_end = (isinstance(e, f.Big) or f.plain_log(e)) and n < len(factors) - 1
        out.append(_round(tex(e)) if open_end else _in(e, f.PRODUCT))
    return "".join(f" {_gap(a, b)} {b}" for a, b in pairwise(["", *out])).strip()


def _gap(one: str, other: str) -> str:
    """The space between two factors: names of several letters stand further apart, words as in a sentence."""
    return "" if not one else r"\ " if one.startswith(r"\text{") else r"\;" if other.startswith(r"\mathrm{") else r"\,"


def _sums(e: f.Big) -> str:
    """One sign for each index, with its range; a condition stands under the one that it is about."""
    out = []
    where = e.where
    about = f.conditioned(e.indices, where)
    for n, (index, size) in enumerate(e.indices):
        condition = rf" :\, {tex(where)}" if where is not None and n == about else ""
        if condition and isinstance(where, f.Relation) and where.left == index:
            out.append(rf"\sum_{{{tex(where)}}}")
        elif condition or size == f.Word(""):
            out.append(rf"\sum_{{{tex(index)}{condition}}}")
        else:
            out.append(rf"\sum_{{{tex(index)}={int(index in e.ones)}}}^{{{tex(f.last(e, index, size))}}}")
    return "".join(out)


def _name(name: str) -> str:
    bare = name.rstrip("'")
    primes = "'" * (len(name) - len(bare))
    if bare in STATISTIC:
        return rf"S^{{\mathrm{{{escaped(STATISTIC.named(bare), math=True)}}}}}{primes}"
    if bare in GREEK:
        return rf"\{bare}{primes}"
    if low := lowered(bare):
        letter, below = low
        return rf"{{{_name(letter)}_{{{_name(below) if below.isalpha() else below}}}}}{primes}"
    if len(bare) == 1 and bare.isascii():
        return bare + primes
    greek = _greek(bare)
    return (greek or rf"\mathrm{{{escaped(bare, math=True)}}}") + primes


def _greek(letter: str) -> str:
    """The command of a single Greek letter, by its Unicode name."""
    if len(letter) != 1:
        return ""
    words = unicodedata.name(letter, "").split()
    if len(words) == 4 and words[0] == "GREEK" and words[2] == "LETTER":
        name = words[3].lower().replace("lamda", "lambda")
        name = name.capitalize() if words[1] == "CAPITAL" else name
        return rf"\{name}" if name in GREEK else ""
    return ""


def escaped(text: str, math: bool = False) -> str:
    """Text that LaTeX prints as it stands; what a plain engine lacks is spelt. `math`: inside math mode already."""
    out = []
    for c in re.findall("⁽[^⁽⁾]*⁾|[⁻⁰¹²³⁴-⁹]+|.", unicodedata.normalize("NFC", text), re.DOTALL):
        if c in RAISED:
            out.append(RAISED[c] if math else rf"\ensuremath{{{RAISED[c]}}}")
        elif c in MATHS:
            out.append(f"{{{MATHS[c]}}}" if math else rf"\ensuremath{{{MATHS[c]}}}")
        elif c[0] in "⁽⁻⁰¹²³⁴⁵⁶⁷⁸⁹":
            high = f"^{{{unicodedata.normalize('NFKC', c).replace('−', '-')}}}"
            out.append(high if math else rf"\ensuremath{{{high}}}")
        elif c in SPECIAL:
            out.append(SPECIAL[c])
        elif ord(c) < 128:
            out.append("\\ " if c == " " and math else c if c.isprintable() else " ")
        elif _greek(c):
            out.append(f"{{{_greek(c)}}}" if math else rf"\ensuremath{{{_greek(c)}}}")
        elif unicodedata.decomposition(c).startswith("<fraction>"):
            top, bottom = unicodedata.normalize("NFKD", c).split("\u2044")
            fraction = rf"\tfrac{{{top}}}{{{bottom}}}"
            out.append(fraction if math else rf"\ensuremath{{{fraction}}}")
        elif len(pair := unicodedata.normalize("NFD", c)) == 2 and pair[0].isascii() and pair[1] in ACCENTS:
            out.append(f"{ACCENTS[pair[1]][not math]}{{{pair[0]}}}")
        elif len(plain := unicodedata.normalize("NFKD", c).encode("ascii", "ignore").decode()) > 0:
            out.append("".join(SPECIAL.get(p, p) for p in plain))
        else:
            out.append(f"u{ord(c):04X}")
    return "".join(out)
