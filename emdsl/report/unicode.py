"""Formulas in plain Unicode, one line each."""

from __future__ import annotations

import re
from typing import assert_never

from emdsl.derive.algebra.made import STATISTIC
from emdsl.report import formula as f
from emdsl.report.formula import Formula

SIGNS = {
    "=": "=",
    "~": "~",
    "<": "<",
    ">": ">",
    "<=": "≤",
    ">=": "≥",
    "!=": "≠",
    "and": "and",
    "or": "or",
    "|": "|",
    "∝": "∝",
    "<-": "←",
    "in": "∈",
}
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
    "sum": "Σ",
    "Gamma": "Γ",
    "const": "const",
    "ell": "ℓ",
    "I0": "I₀",
    "infinity": "∞",
    "Phi": "Φ",
    "phi": "φ",
    "I1": "I₁",
}
HALVES = {("1", "2"): "½", ("1", "4"): "¼", ("3", "4"): "¾", ("1", "3"): "⅓", ("2", "3"): "⅔", ("1", "8"): "⅛"}
FACTOR = re.compile(
    r"[(\[Σ√]|(α|β|q|J|Λ|ν|exp|cov|log|softplus|logistic|φ|Φ)\(|E\["
)  # how a factor that a line may start with begins
CALL = re.compile(r"[^\W\d]\($")  # how what a function is of begins
SLACK = 7  # the part of a width by which a line is left too long, rather than broken within brackets far to the right
NARROW = 24  # letters of brackets that are not broken
ROWS = 200  # lines from which on a row is broken without regard to its brackets
LEFT = 2000  # letters among which the sign between two sides is looked for: a row may have hundreds of thousands
BESIDE = 4  # the margin of terms that stand below what they equal
LETTERS = "0123456789abcdefghijklmnoprstuvwxyz,'"  # those that Unicode has small and raised
SMALL = str.maketrans(LETTERS, "⁰¹²³⁴⁵⁶⁷⁸⁹ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ,′")
HIGH = str.maketrans("0123456789-+n", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ")


def text(e: Formula) -> str:
    """One line of Unicode."""
    match e:
        case f.Name(name):
            return f"S_{STATISTIC.named(name)}" if name in STATISTIC else name
        case f.Number(digits):
            return digits
        case f.Word(word):
            return WORDS.get(word, word)
        case f.At(base, places):
            return f"{_in(base, f.ATOM)}[{', '.join(map(text, places))}]"
        case f.Nth(base, numbers):
            label = ",".join(map(text, numbers))
            return text(base) + (f"⁽{label.translate(SMALL)}⁾" if set(label) <= set(LETTERS) else f"^({label})")
        case f.Raised(base, exponent):
            return (f"({_loose(base)})" if f.plain_log(base) else _in(base, f.ATOM)) + _raised(exponent)
        case f.Root(body):
            return f"√{text(body)}" if f.level(body) == f.ATOM else f"√({text(body)})"
        case f.Apply(function, arguments):
            return f"{text(function)}({', '.join(map(text, arguments))})"
        case f.Bracket(body):
            return f"[{text(body)}]"
        case f.Rows(rows):
            inner = [", ".join(map(text, row)) for row in rows]
            return f"[{', '.join(inner if all(len(row) == 1 for row in rows) else (f'[{row}]' for row in inner))}]"
        case f.Mean(body, given):
            return f"E[{_loose(body)}{f' | {text(given)}' if given is not None else ''}]"
        case f.Slope(of, by, _, other) if other is not None:
            return f"∂²{_loose(of)}/∂{text(by)}∂{text(other)}"
        case f.Slope(of, by, order):
            high = "²" if order == 2 else ""
            return f"∂{high}{_loose(of)}/∂{text(by)}{high}"
        case _:
            return _wide(e)


def _wide(e: f.Wide) -> str:
    """What does not hold together of itself: sums, products, relations."""
    match e:
        case f.Plus(terms):
            return _terms(terms)
        case f.Times(factors):
            return _factors(factors)
        case f.Over(f.Number(a), f.Number(b)):
            return HALVES.get((a, b), f"{a}/{b}")
        case f.Over(top, bottom):
            low = text(bottom)
            simple = f.level(bottom) >= f.POWER
            return f"{_in(top, f.PRODUCT)} / {low if simple else f'({low})'}"
        case f.Big(indices, where, body):
            names = ", ".join(text(i) for i, _ in indices)
            condition = f" : {text(where)}" if where is not None else ""
            names = f"{{{names}{condition}}}" if condition or len(indices) > 1 else names
            own = f.filtered(e)
            names = f"{{{text(own)}}}" if own is not None else names
            return f"Σ_{names} {_in(body, f.PRODUCT, loose=True)}"
        case f.Relation(op, left, right):
            return f"{_loose(left)} {SIGNS.get(op, op)} {_loose(right)}"
        case f.Listed(items):
            return ", ".join(map(_loose, items))
        case f.Cases(options):
            return (
                "{"
                + "; ".join(text(v) + (f" if {text(c)}" if c is not None else " otherwise") for v, c in options)
                + "}"
            )
        case _:
            assert_never(e)


def lines(e: Formula, width: int) -> list[str]:
    """A long sum over several lines, its terms under the first; a long fraction with what is below on its own line.

    What is longer still is folded within its brackets.
    """
    first, *rest = _rows(e, width)
    home = len(rest[-1]) - len(rest[-1].lstrip()) if rest else None  # where the terms of the sum stand
    out = [*folded(first, width, home=home), *(line for row in rest for line in folded(row, width, home=home))]
    if isinstance(e, f.Relation) and not rest and max(map(len, out)) > width:  # the right side below the left
        left, right = (_loose(side) for side in (e.left, e.right))
        below = [*folded(left, width), *folded(f"{'':{BESIDE}}{SIGNS[e.op]} {right}", width)]
        return min(out, below, key=lambda rows: max(map(len, rows)))
    return out


def folded(row: str, width: int, within: tuple[int, ...] = (), home: int | None = None) -> list[str]:
    """A line that is too long, broken before signs in as few brackets as can be, under the start of what these hold.

    `within` are the columns of the brackets that are open where the line starts; `home` is where terms outside stand.
    """
    if len(row) <= width:
        return [row]
    if len(row) > ROWS * width:
        return _chopped(row, width)
    start = len(row) - len(row.lstrip())
    if home is None:
        home = min((at + 1 for sign in "=≥∝" if (at := row.find(f" {sign} ")) >= 0), default=start)
    related = _related(row)
    opened = list(within)
    best: tuple[int, int, tuple[int, ...]] | None = None  # brackets around, minus the place, their columns
    for i, c in enumerate(row[: width + 1]):
        if c in "([{":
            opened.append(i)
        elif c in ")]}" and opened:
            opened.pop()
        elif (
            row[i : i + 3] in (" + ", " - ")
            and i > start + 8
            and (not opened or i > related)
            and _breakable(row, i, opened)
        ):
            best = min(best or (len(row), 0, ()), (len(opened), -i, tuple(opened)))
    indent = home if best is None or not best[2] else best[2][-1] + 1
    between = _between_factors(row, width, within, home) if best is None or indent > width // 2 else []
    if best is None or (between and max(map(len, between)) < width + width // SLACK):
        return between
    if best[2] and CALL.search(row, 0, best[2][-1] + 1):  # a factor that a function makes stays whole where it can
        between = _between_factors(row, width, within, home)
        if len(within) + sum(between[0].count(c) for c in "([{") - sum(between[0].count(c) for c in ")]}") < best[0]:
            return between
    rest = row[1 - best[1] :]
    rest = " " * (indent if indent + len(rest) <= width else min(indent, width // 2)) + rest
    out = [row[: -best[1]], *folded(rest, width, best[2], home)] if len(rest) < len(row) else [row]
    if max(map(len, out)) < width + width // SLACK:
        return out
    return min(out, _between_factors(row, width, within, home), key=lambda lines: max(map(len, lines)))


def _chopped(row: str, width: int) -> list[str]:
    """A row of hundreds of lines, which nobody reads as an equation: broken at the last sign, or room, of each line."""
    out, at, margin = [], 0, ""
    while at < len(row):
        end = at + width - len(margin)
        signs = (row.rfind(sign, at + width // 2, end) for sign in (" + ", " - "))
        cut = max(*signs) if end < len(row) else len(row)
        cut = cut if cut > at else max(row.rfind(" ", at + 1, end), -1)
        cut = cut if cut > at else end
        out.append(margin + row[at:cut])
        at, margin = cut + (row[cut : cut + 1] == " "), " " * BESIDE
    return out


def _between_factors(row: str, width: int, within: tuple[int, ...], home: int) -> list[str]:
    """A line without a sign to break at, broken before a factor in as few brackets as can be."""
    start = len(row) - len(row.lstrip())
    depth, near = [0], row[: width + 2]  # a line is broken before its end: what is far behind that is not looked at
    for c in near:
        depth.append(depth[-1] + (c in "([{") - (c in ")]}"))
    signed = {i + d for i, c in enumerate(near) if c in "+-=≥≤<>|:∝/," for d in (-1, 1)}
    starts = [
        i
        for i in range(max(start + 24, _related(row)), min(width, len(row) - 1))
        if row[i] == " " and FACTOR.match(row, i + 1) and i not in signed
    ]
    too_long = len(row) > width + width // SLACK
    places = [i for i in starts if not _leads(row[:i].rpartition(" ")[2])] or (starts if too_long else [])
    if not places and too_long:  # a logarithm without brackets
        spaces = [i for i in range(max(start + 24, _related(row)), width) if row.startswith("log ", i + 1)]
        places = [i for i in spaces if i not in signed and row[i] == " "]
    if not places and too_long:  # names alone: between any two, then between those of a list, then where it may be
        start, end = max(start + 8, _related(row) + 3), min(width, len(row) - 1)
        spaces = [i for i in range(start, end) if row[i] == " " and not row[:i].rpartition(" ")[2].isdigit()]
        listed = [i for i in spaces if row[i - 1] == "," and "[" not in _around(row, i)]
        spaces = [i for i in spaces if not _leads(row[:i].rpartition(" ")[2]) and not _around(row, i)]
        places = [i for i in spaces if i not in signed] or listed or _later(row, width)
    if not places:
        return [row]
    at = min(places, key=lambda i: (depth[i] if i < len(depth) else 0, -i))
    margin = max(home + BESIDE, len(row) - len(row.lstrip()) + 2) if within else home + BESIDE  # below what it goes on
    rest = " " * min(margin, width // 2) + row[at + 1 :]
    return [row[:at], *folded(rest, width, within, home)] if len(rest) < len(row) else [row]


def _around(row: str, at: int) -> set[str]:
    """Whether a place lies among those of an array, `x[n, d]` ("["), or in the range of a sum ("{")."""
    opened: list[str] = []
    for n, c in enumerate(row[:at]):
        if c in "([{":
            opened.append("[" if c == "[" and row[n - 1 : n].isidentifier() else "{" if row[:n].endswith("Σ_") else "(")
        elif c in ")]}" and opened:
            opened.pop()
    return set(opened) - {"("}


def _later(row: str, width: int) -> list[int]:
    """The first sign behind the width of a line, where nothing before it lets the line end."""
    signs = (i for i in range(width, min(len(row), LEFT)) if row[i : i + 3] in (" + ", " - "))
    return [at for at in [next((i for i in signs if not _around(row, i)), None)] if at is not None]


def _breakable(row: str, at: int, opened: list[int]) -> bool:
    """Whether a line may end at a place: not right after a bracket opens, nor among the places of an array, nor in
    `(k + 1)`."""
    if not opened:
        return True
    b = opened[-1]
    places = row[b : b + 1] == "[" and row[b - 1 : b].isidentifier() and not row[:b].endswith((" E", "(E"))
    small = row[b : b + 1] == "(" and any(row[b:i].count("(") == row[b:i].count(")") for i in range(at, b + NARROW))
    return at > b + 8 and not places and not small


def _related(row: str) -> int:
    """Where the sign between the two sides of an equation stands; 0 on a line without one."""
    depth = 0
    for at, c in enumerate(row[:LEFT]):
        depth += (c in "([{") - (c in ")]}")
        if c in "=≥∝" and depth == 0 and row[at - 1 : at + 2] == f" {c} ":
            return at
    return 0


def _leads(word: str) -> bool:
    """Whether a word belongs to what follows it: a number, the sign of a sum."""
    return word.lstrip("(").startswith("Σ") or word.lstrip("(").replace("½", "2").isdigit()


def _rows(e: Formula, width: int) -> list[str]:
    if len(text(e)) <= width:
        return [text(e)]
    if isinstance(e, f.Relation) and isinstance(e.right, f.Rows):
        return _entries(_loose(e.left) + " = [", e.right, width)
    if not (isinstance(e, f.Relation) and e.op in ("=", ">=") and isinstance(e.right, f.Plus)):
        return _fraction(e, width)
    head, sign = _loose(e.left), SIGNS[e.op]
    longest = max(len(_terms((t,))) for t in e.right.terms) + BESIDE
    broken = len(head) > width // 4 or longest < width + width // SLACK  # within its brackets: far to the right, or not
    squeezed = width < longest + len(head) and broken
    alone = len(head) > 2 * width // 5 or squeezed  # then the terms start on a line of their own
    margin = BESIDE if alone else len(head)
    first, *rest = (_terms(row) for row in f.in_rows(e.right.terms, lambda p: len(text(p)), width, margin))
    signed = [f"- {r[1:]}" if r.startswith("-") else f"+ {r}" for r in rest]
    under = [" " * (margin + 1) + r for r in signed]
    return [head, f"{' ' * margin} {sign} {first}", *under] if alone else [f"{head} {sign} {first}", *under]


def _entries(head: str, e: f.Rows, width: int) -> list[str]:
    """A literal vector over several lines, or a literal matrix, a row on each."""
    vector = all(len(row) == 1 for row in e.rows)
    out, margin = [head], " " * len(head)
    for n, row in enumerate(e.rows):
        entry = text(row[0]) if vector else f"[{', '.join(map(text, row))}]"
        entry += "," if n < len(e.rows) - 1 else "]"
        if n and (not vector or len(out[-1]) + len(entry) > width):
            out[-1] = out[-1].rstrip()
            out.append(margin)
        out[-1] += entry + (" " if n < len(e.rows) - 1 else "")
    return out


def _fraction(e: Formula, width: int) -> list[str]:
    match e:
        case f.Relation("=" as op, left, right) if len(_loose(left)) > 2 * width // 3:
            return [_loose(left), f"{' ' * BESIDE} {SIGNS[op]} {text(right)}"]
        case f.Relation("=", left, f.Over(top, bottom)):
            head = f"{_loose(left)} = "
            return [head + _in(top, f.PRODUCT), " " * (len(head) - 2) + f"/ {_in(bottom, f.POWER)}"]
    return [text(e)]


def _in(e: Formula, level: int, loose: bool = False) -> str:
    if f.level(e) < level:
        return f"({_loose(e)})"
    return _loose(e) if loose else text(e)


def _loose(e: Formula) -> str:
    """Where nothing follows, a logarithm of one thing needs no brackets."""
    return f"log {text(e.arguments[0])}" if isinstance(e, f.Apply) and f.plain_log(e) else text(e)


def _raised(exponent: Formula) -> str:
    match exponent:
        case f.Word("T"):
            return "ᵀ"
        case f.Number(digits) if all(c in "0123456789-" for c in digits):
            return digits.translate(HIGH)
    return f"^{_in(exponent, f.ATOM)}"


def _terms(terms: tuple[tuple[bool, Formula], ...]) -> str:
    out = ""
    for negative, t in terms:
        sign = (" - " if negative else " + ") if out else ("-" if negative else "")
        out += sign + _in(t, f.PRODUCT, loose=True)
    return out


def _factors(factors: tuple[Formula, ...]) -> str:
    """Side by side; a sum that is not the last factor is bracketed, so is a fraction after something."""
    out = []
    for n, e in enumerate(factors):
        last = n == len(factors) - 1
        open_end = isinstance(e, f.Big) and not last
        literal = isinstance(e, f.Over) and isinstance(e.top, f.Number) and isinstance(e.bottom, f.Number)
        fraction = isinstance(e, f.Over) and not literal
        out.append(f"({text(e)})" if open_end or fraction else _in(e, f.PRODUCT, loose=last))
    return " ".join(out)
