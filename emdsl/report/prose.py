"""Mathematics within sentences: `exp(X[n] @ beta)` of a reason as a formula, so that each printer sets it as its own.

Only what is surely mathematics is read so: places in brackets, functions of something, powers, sums, bounds. All else
stays as it is, and what stands in backticks, too.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator

from emdsl.report import formula as f
from emdsl.report.formula import Formula
from emdsl.report.measure import GREEK, measure

NAME = re.compile(r"[^\W\d_]\w*'*|_\w+")
NUMBER = re.compile(r"\d+(\.\d+)?")
POINT = re.compile(r"⁽[^⁽⁾]*⁾")
RELATION = re.compile(r" (==|>=|<=|!=|[=≥≤≠<>|]) ")
RELATIONS = {"==": "=", "≥": ">=", "≤": "<=", "≠": "!="}
BOUNDS = (">=", "<=", "!=", "<", ">")
WORDS = {
    "Γ": "Gamma", "I₀": "I0", "ψ": "digamma", "Φ": "Phi", "φ": "phi", "α": "alpha", "β": "beta", "δ": "delta",
    "π": "pi", "Λ": "Lambda", "ν": "nu", "η": "eta", "λ": "lambda", "𝒬": "calligraphic Q",
}  # fmt: skip
CELLS = ("missing", "seen")
LETTERS = ("q", "Q", "𝒬", "J", "h", "ξ", "ψ", "η")  # that are no words, and stand for what equations call so
LONGEST = 70  # letters of a formula in a line of text
FARTHEST = 4 * LONGEST  # letters of a sentence in which such a formula stands: of thousands all would be read anew
HALVES = {"½": "2", "¼": "4"}
AFTER = re.compile(r"$|[\s,.;:)]")  # what ends a word


class _NoFormula(Exception):
    """What is read is no formula."""


def told(said: str, names: Collection[str]) -> Iterator[tuple[str, Formula | None, bool]]:
    """The parts of a sentence: text, the formula that it is, if any, and whether it stood in backticks.

    `names` are those of the equations: one that stands alone in backticks is set as there.
    """
    for n, part in enumerate(said.split("`")):
        if n % 2:
            yield part, f.Name(part) if part in names else None, True
        else:
            yield from ((text, formula, False) for text, formula in _parts(part, names))


def _parts(said: str, names: Collection[str]) -> Iterator[tuple[str, Formula | None]]:
    at = start = 0
    while at < len(said):
        found = _read(said, at, names) if at == 0 or said[at - 1] in " (" else None
        if found is None:
            at += 1
            continue
        if start < at:
            yield said[start:at], None
        formula, end = found
        yield said[at:end], formula
        at = start = end
    if start < len(said):
        yield said[start:], None


def _read(said: str, at: int, names: Collection[str]) -> tuple[Formula, int] | None:
    """The longest formula from a place on that ends where a word does."""
    reader = _Reader(said[: at + FARTHEST], at, names)
    try:
        formula = reader.relation()
    except _NoFormula:
        return None
    if AFTER.match(said, reader.at) is None or not (reader.sure or said[at : reader.at] in LETTERS):
        return None
    return (formula, reader.at) if reader.at < at + FARTHEST and measure(formula) <= LONGEST else None


def _may_be_a_word(name: str) -> bool:
    """Whether a sentence may have it without meaning the name: not `beta`, `s_2`, `k`."""
    plain = name.rstrip("'")
    return plain in ("a", "A", "I") or (len(plain) > 1 and plain not in GREEK and plain.isalpha())


class _Reader:
    """A descent through sums, products and powers; `sure` once something was met that no prose has."""

    def __init__(self, said: str, at: int, names: Collection[str]) -> None:
        self.said, self.at, self.names, self.sure = said, at, names, False

    def _met(self, sign: str) -> bool:
        if not self.said.startswith(sign, self.at):
            return False
        self.at += len(sign)
        return True

    def _need(self, sign: str) -> None:
        if not self._met(sign):
            raise _NoFormula

    def relation(self) -> Formula:
        left = self._sum()
        met = RELATION.match(self.said, self.at)
        if met is None:
            return left
        before, self.at = (self.at, self.sure), met.end()
        op = RELATIONS.get(met[1], met[1])
        try:
            right = self.relation()
        except _NoFormula:
            self.at, self.sure = before
            return left
        self.sure |= op in BOUNDS
        return f.Relation(op, left, right)

    def _sum(self) -> Formula:
        terms = [(self._met("-"), self._product())]
        while self.said.startswith((" + ", " - "), self.at):
            before, negative = (self.at, self.sure), self.said[self.at + 1] == "-"
            self.at += 3
            try:
                terms.append((negative, self._product()))
            except _NoFormula:
                self.at, self.sure = before
                break
        return terms[0][1] if terms == [(False, terms[0][1])] else f.Plus(tuple(terms))

    def _product(self) -> Formula:
        if self._met("Σ_"):
            name = NAME.match(self.said, self.at)
            if name is None:
                raise _NoFormula
            self.at, self.sure = name.end(), True
            self._need(" ")
            return f.Big(((f.Name(name[0]), f.Word("")),), None, self._product())
        out = self._power()
        while True:
            before = self.at, self.sure
            try:
                if self._met(" / "):
                    out = f.Over(out, self._power())
                elif self._met(" @ "):
                    self.sure = True
                    out = f.times(f.Raised(out, f.Word("T")), self._power())
                elif self._met(" "):
                    out = f.times(out, self._power(beside=True))
                else:
                    return out
            except _NoFormula:
                self.at, self.sure = before
                return out

    def _power(self, beside: bool = False) -> Formula:
        base = self._primary(beside)
        while True:
            if self._met("²"):
                base = f.Raised(base, f.Number("2"))
            elif self._met("⁻¹"):
                base = f.Raised(base, f.Number("-1"))
            elif self._met("ᵀ"):
                base = f.Raised(base, f.Word("T"))
            elif self._met("^"):
                negative, exponent = self._met("-"), self._primary(False)
                base = f.Raised(base, f.Plus(((True, exponent),)) if negative else exponent)
            else:
                return base
            self.sure = True

    def _primary(self, beside: bool) -> Formula:
        """A number, a name with its places, a function of something, a sum in brackets; `beside` another factor."""
        if self.at < len(self.said) and (half := HALVES.get(self.said[self.at])):
            self.at += 1
            self._need(" ")
            return f.times(f.Over(f.Number("1"), f.Number(half)), self._power())
        if (number := NUMBER.match(self.said, self.at)) is not None and not beside:
            self.at = number.end()
            return f.Number(number[0])
        if self._met("("):
            inner = self.relation()
            self._need(")")
            return inner
        if self._met("["):
            inner = self.relation()
            self._need("]")
            self.sure = True
            return f.Bracket(inner)
        name = NAME.match(self.said, self.at)
        if name is None:
            raise _NoFormula
        self.at = name.end()
        return self._named(name[0])

    def _named(self, name: str) -> Formula:
        if name == "log" and self.said.startswith((" Γ(", " I₀("), self.at):
            self.at += 1
            inner = NAME.match(self.said, self.at)
            assert inner is not None
            self.at = inner.end()
            return f.of("log", self._named(inner[0]))
        if name == "log" and name not in self.names and self._met(" "):
            return f.of("log", self._power())
        self.sure |= name in self.names and not _may_be_a_word(name)
        ours = name in WORDS or name.isascii()
        word: Formula = f.Word(WORDS.get(name, name)) if ours and name not in self.names else f.Name(name)
        if (point := POINT.match(self.said, self.at)) is not None:
            self.at, self.sure = point.end(), True
            word = f.Nth(word, (f.Name(unicodedata.normalize("NFKC", point[0])[1:-1]),))
        if self._met("("):
            self.sure = True
            arguments = tuple(self._listed(")"))
            if name == "log1p" and len(arguments) == 1:
                return f.of("log", f.plus(f.Number("1"), *arguments))
            if name == "inv" and len(arguments) == 1:
                return f.Raised(arguments[0], f.Number("-1"))
            if name == "quad" and len(arguments) == 2:
                return f.times(f.Raised(arguments[1], f.Word("T")), *arguments)
            return f.Apply(f.Word(WORDS.get(name, name)), arguments)
        if self._met("["):
            self.sure = True
            places = self._listed("]")
            return f.Mean(f.listed(places)) if name == "E" and name not in self.names else f.At(word, tuple(places))
        if (
            name in self.names
            or name in WORDS
            or name in CELLS
            or len(name.rstrip("'")) == 1
            or isinstance(word, f.Nth)
        ):
            return word
        raise _NoFormula

    def _listed(self, end: str) -> list[Formula]:
        out = [self.relation()]
        while self._met(", "):
            out.append(self.relation())
        self._need(end)
        return out
