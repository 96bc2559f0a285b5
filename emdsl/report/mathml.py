"""Formulas in MathML, for browsers: no script, nothing loaded; every name is escaped."""

from __future__ import annotations

from html import escape
from typing import assert_never

from emdsl.derive.algebra.made import STATISTIC
from emdsl.report import formula as f
from emdsl.report.breaking import Piece, Row, argument_rows, broken, factor_rows, sums_out, widest
from emdsl.report.formula import Formula
from emdsl.report.measure import GREEK, lowered, measure, one_below

SIZES = ((150, "55%"), (125, "65%"), (102, "80%"))  # of what is wider than so many letters
WIDE, INNER = 84, 66  # of a display equation and of a sum within one, in characters of the plain text
TALL = ("<mfrac", "<munder", "<mtable", "<msqrt")  # what is taller than a line
LEFT, RIGHT = 'style="text-align:left"', 'style="text-align:right"'
SIGNS = {
    "=": "=", "~": "∼", "<": "&lt;", ">": "&gt;", "<=": "≤", ">=": "≥", "!=": "≠", "and": "and", "or": "or", "|": "|",
    "∝": "∝", "is": "is", "<-": "←", "in": "∈",
}  # fmt: skip
WORDS = {
    "pi": "π",
    "calligraphic Q": "𝒬",
    "alpha": "α",
    "beta": "β",
    "delta": "δ",
    "digamma": "ψ",
    "eta": "η",
    "lambda": "λ",
    "theta": "θ",
    "Lambda": "Λ",
    "nu": "ν",
    "xi": "ξ",
    "zeta": "ζ",
    "trigamma": "ψ′",
    "Gamma": "Γ",
    "logdet": "log det",
    "Phi": "Φ",
    "phi": "φ",
    "ell": "ℓ",
    "I0": "I₀",
    "infinity": "∞",
    "I1": "I₁",
}
LETTERS = dict(zip(GREEK, "αβγδϵζηθικλμνξπρστυϕχψωΓΔΘΛΞΠΣΥΦΨΩ", strict=True))


def mathml(e: Formula) -> str:
    """A display equation; a long sum is broken over lines, as is one within it."""
    e = sums_out(e)
    parts = broken(e, measure, WIDE, INNER)
    small = next((size for room, size in SIZES if widest(e, parts, measure, INNER) > room), "")
    head = f'<math display="block" style="font-size:{small}">' if small else '<math display="block">'
    if parts is None:
        if isinstance(e, f.Relation) and isinstance(e.right, f.Plus) and e.op in SIGNS:  # it fits as it is
            return f"{head}<mrow>{_of(e.left)}<mo>{SIGNS[e.op]}</mo>{_terms(e.right.terms)}</mrow></math>"
        return f"{head}{_row(e)}</math>"
    sign = f"<mo>{SIGNS[parts.sign]}</mo>"
    rows = list(map(_line, parts.rows))
    if parts.alone:
        indented = [f"<mspace width='2em'/>{sign if n == 0 else ''}{r}" for n, r in enumerate(rows)]
        lines = [f"<mtd {LEFT}><mrow>{r}</mrow></mtd>" for r in (_of(parts.left), *indented)]
        table = "".join(f"<mtr>{line}</mtr>" for line in lines)
    else:
        before = f"<mtd {RIGHT}><mrow>{_of(parts.left)}{sign}</mrow></mtd>"
        lines = [f"<mtd {LEFT}><mrow>{r}</mrow></mtd>" for r in rows]
        table = "".join(f"<mtr>{before if n == 0 else '<mtd></mtd>'}{line}</mtr>" for n, line in enumerate(lines))
    return f'{head}<mtable displaystyle="true">{table}</mtable></math>'


def inline(e: Formula) -> str:
    """A formula within a sentence."""
    return f"<math>{_row(e)}</math>"


def _line(row: Row) -> str:
    """A line of the right side, with the sign before it."""
    sign = f'<mo form="infix">{row.sign.replace("-", "−")}</mo>' if row.sign else ""
    between = "<mspace width='0.17em'/>"
    return sign + (_terms(row.terms) or between.join(_piece(p, p is row.pieces[-1]) for p in row.pieces))


def _piece(p: Piece, last: bool) -> str:
    """A factor after its signs; a logarithm in the middle of a line is bracketed."""
    open_end = f.plain_log(p.factor) and not last
    body = _round(_of(p.factor)) if open_end else _in(p.factor, f.PRODUCT)
    return ("<mo>−</mo>" if p.negative else "") + "".join(map(_sum_sign, p.sums)) + body


def _sum_sign(e: f.Big) -> str:
    own = f.filtered(e)
    return f"<munder><mo>∑</mo>{_row(own)}</munder>" if own is not None else _sums(e)


def _stacked(rows: list[str]) -> str:
    """Lines below one another."""
    lines = "".join(f"<mtr><mtd {LEFT}><mrow>{r}</mrow></mtd></mtr>" for r in rows)
    return f'<mtable displaystyle="true">{lines}</mtable>'


def _signed(rows: list[f.Terms]) -> list[str]:
    """The rows of a sum, all after the first with the sign of their first term."""
    first, *rest = rows
    signed = [(("−" if negative else "+"), _terms(((False, term), *more))) for (negative, term), *more in rest]
    return [_terms(first), *(f'<mo form="infix">{sign}</mo>{row}' for sign, row in signed)]


def _row(e: Formula) -> str:
    return f"<mrow>{_of(e)}</mrow>"


def _of(e: Formula) -> str:
    match e:
        case f.Name(name) if name in STATISTIC:
            return f"<msup><mi>S</mi>{_statistic(name)}</msup>"
        case f.Name(name):
            bare = name.rstrip("'")
            letters = f"<mi>{escape(LETTERS.get(bare, bare))}</mi>"
            if low := lowered(bare):
                sign = "mn" if low[1].isdecimal() else "mi"
                letters = f"<msub><mi>{LETTERS.get(low[0], low[0])}</mi><{sign}>{low[1]}</{sign}></msub>"
            primes = "′" * (len(name) - len(bare))  # no exponent: fonts have this sign raised already
            return f'<mrow>{letters}<mo lspace="0" rspace="0">{primes}</mo></mrow>' if primes else letters
        case f.Number(digits):
            return f"<mn>{escape(digits).replace('-', '−')}</mn>"
        case f.Word(word):
            shown = escape(WORDS.get(word, word))
            return f"<mi>{shown}</mi>" if f.one_letter(shown) else f'<mi mathvariant="normal">{shown}</mi>'
        case f.At(base, places):
            below = f"<mrow>{_listed(places)}</mrow>"
            if isinstance(base, f.Name) and base.text in STATISTIC:  # one sign above the other
                return f"<msubsup><mi>S</mi>{below}{_statistic(base.text)}</msubsup>"
            return f"<msub>{_row_in(base, f.ATOM)}{below}</msub>"
        case f.Nth(base, numbers):
            return f"<msup>{_of(base)}{_round(_listed(numbers))}</msup>"
        case f.Raised(base, exponent):
            high = "<mo>⊤</mo>" if exponent == f.Word("T") else _row(exponent)
            if isinstance(base, f.At) and one_below(base):
                return f"<msubsup>{_of(base.base)}<mrow>{_listed(base.places)}</mrow>{high}</msubsup>"
            return f"<msup>{_row_in(base, f.ATOM)}{high}</msup>"
        case f.Root(body):
            return f"<msqrt>{_of(body)}</msqrt>"
        case f.Apply(function, (argument,)) if f.plain_log(e):
            return f"{_of(function)}<mspace width='0.17em'/>{_of(argument)}"
        case f.Apply(function, _) if rows := argument_rows(e, measure, INNER):
            stacked = _stacked([_listed(tuple(items)) + (f"<mo>{end}</mo>" if end else "") for items, end in rows])
            return f"{_of(function)}<mo>&#x2061;</mo>{_round(stacked)}"
        case f.Apply(function, arguments):
            return f"{_of(function)}<mo>&#x2061;</mo>{_round(_listed(arguments))}"
        case f.Bracket(body):
            return _round(_of(body), "[]")
        case f.Rows(rows):
            lines = ("".join(f"<mtd>{_row(entry)}</mtd>" for entry in row) for row in rows)
            table = "".join(f"<mtr>{line}</mtr>" for line in lines)
            return _round(f"<mtable>{table}</mtable>")
        case f.Mean(body, given):
            rest = f"<mo>|</mo>{_of(given)}" if given is not None else ""
            return f'<mi mathvariant="normal">E</mi>{_round(_of(body) + rest, "[]")}'
        case f.Slope(of, by, _, other) if other is not None:
            over = f"<mrow><msup><mo>∂</mo><mn>2</mn></msup>{_of(of)}</mrow>"
            return f"<mfrac>{over}<mrow><mo>∂</mo>{_row(by)}<mo>∂</mo>{_row(other)}</mrow></mfrac>"
        case f.Slope(of, by, order):
            sign, below = "<mo>∂</mo>", _row(by)
            if order == 2:
                sign, below = f"<msup>{sign}<mn>2</mn></msup>", f"<msup>{below}<mn>2</mn></msup>"
            return f"<mfrac><mrow>{sign}{_of(of)}</mrow><mrow><mo>∂</mo>{below}</mrow></mfrac>"
        case _:
            return _wide(e)


def _wide(e: f.Wide) -> str:
    """What does not hold together of itself: sums, products, relations."""
    match e:
        case f.Plus(terms):
            rows = f.in_rows(terms, measure, INNER)
            if len(rows) == 1:
                return _terms(terms)
            return _stacked(_signed(rows))
        case f.Times(factors):
            several = list(map(_line, factor_rows(e, measure, INNER)))
            return _stacked(several) if len(several) > 1 else _factors(factors)
        case f.Over(top, bottom):
            return f"<mfrac>{_row(top)}{_row(bottom)}</mfrac>"
        case f.Big():
            return _sum_sign(e) + _in(e.body, f.PRODUCT)
        case f.Relation(op, left, right):
            sign = SIGNS.get(op, escape(op))
            word = f"<mtext>&#xa0;{sign}&#xa0;</mtext>" if sign.isalpha() else f"<mo>{sign}</mo>"
            return f"{_of(left)}{word}{_of(right)}"
        case f.Listed(items):
            return _listed(items)
        case f.Cases(options):
            cases = "".join(_case(v, c) for v, c in options)
            return f"<mrow><mo>{{</mo><mtable>{cases}</mtable></mrow>"
        case _:
            assert_never(e)


def _case(value: Formula, condition: Formula | None) -> str:
    text = f"<mtext>if&#xa0;</mtext>{_of(condition)}" if condition is not None else "<mtext>otherwise</mtext>"
    return f"<mtr><mtd>{_row(value)}</mtd><mtd><mrow>{text}</mrow></mtd></mtr>"


def _in(e: Formula, level: int) -> str:
    return _of(e) if f.level(e) >= level else _round(_of(e))


def _round(body: str, signs: str = "()") -> str:
    """Brackets, as tall as what they hold; around a line of text plain ones: stretched ones are set apart."""
    still = "" if any(tag in body for tag in TALL) else ' stretchy="false"'
    return f"<mrow><mo{still}>{signs[0]}</mo>{body}<mo{still}>{signs[1]}</mo></mrow>"


def _statistic(name: str) -> str:
    return f'<mi mathvariant="normal">{escape(STATISTIC.named(name))}</mi>'


def _row_in(e: Formula, level: int) -> str:
    return f"<mrow>{_in(e, level)}</mrow>"


def _listed(items: tuple[Formula, ...]) -> str:
    return "<mo>,</mo>".join(map(_of, items))


def _terms(terms: tuple[tuple[bool, Formula], ...]) -> str:
    out = ""
    for n, (negative, t) in enumerate(terms):
        sign = "−" if negative else "+" if n else ""
        out += (f"<mo>{sign}</mo>" if sign else "") + _in(t, f.PRODUCT)
    return out


def _factors(factors: tuple[Formula, ...]) -> str:
    out = []
    for n, e in enumerate(factors):
        open_end = (isinstance(e, f.Big) or f.plain_log(e)) and n < len(factors) - 1
        out.append(_round(_of(e)) if open_end else _in(e, f.PRODUCT))
    words = factors and isinstance(factors[0], f.Word) and " " in factors[0].text
    return f"<mspace width='{0.33 if words else 0.17}em'/>".join(out)


def _sums(e: f.Big) -> str:
    out = ""
    where = e.where
    about = f.conditioned(e.indices, where)
    for n, (index, size) in enumerate(e.indices):
        condition = f"<mo>:</mo>{_of(where)}" if where is not None and n == about else ""
        if condition and isinstance(where, f.Relation) and where.left == index:
            out += f"<munder><mo>∑</mo>{_row(where)}</munder>"
            continue
        if condition or size == f.Word(""):
            out += f"<munder><mo>∑</mo><mrow>{_of(index)}{condition}</mrow></munder>"
            continue
        start = f"<mrow>{_of(index)}<mo>=</mo><mn>{int(index in e.ones)}</mn></mrow>"
        out += f"<munderover><mo>∑</mo>{start}<mrow>{_of(f.last(e, index, size))}</mrow></munderover>"
    return out
