"""Texts made from the grammar itself: every rule of `grammar/em.lark`, with names that models have.

A whole text is nearly always wrong in what it means; a line or an expression put into a model that is right gets
further.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from functools import lru_cache

from lark.grammar import NonTerminal, Rule, Symbol

from emdsl.families import PRELUDE
from emdsl.language.functions import FUNCTIONS, MAKERS, PRELUDE_FUNCTIONS
from emdsl.language.inference import METHODS
from emdsl.language.kinds import KINDS
from emdsl.language.lexing import RESERVED, STATEMENTS
from emdsl.language.parser import grammar

READ = re.compile(r"[^\W\d_]\w*(?:\[(?:[^\[\]]|\[[^\[\]]*\])*\])?")  # a name, or an element: `mean[z[n]]`
NUMBERS = ["0", "1", "2", "3", "10", "0.5", "1e-3", "1e308", "1e-308", "12345678901234567890", ".5", "5.", "007"]
OWN = ["a", "b", "m", "s", "w", "z", "x", "y", "k", "n", "i", "N", "K", "D", "lambda", "µ", "alpha"]
FAMILIES = sorted(PRELUDE())
WORDS = {  # what a name may be in a rule, or under an alias of one
    "domain": sorted(KINDS),
    "infer": sorted(METHODS),
    "apply": [*FAMILIES, *sorted({**FUNCTIONS, **MAKERS, **PRELUDE_FUNCTIONS})],
    "attribute": ["T"],
}
STEPS = (
    "expr",
    "disjunction",
    "conjunction",
    "negation",
    "comparison",
    "signed",
    "power",
    "postfix",
)  # mostly one step down, to sums
DEEPEST = 7


@lru_cache(maxsize=1)
def rules() -> dict[str, list[Rule]]:
    """The expansions of each rule, as Lark has spelled them out."""
    found: dict[str, list[Rule]] = {}
    for rule in grammar().rules:
        found.setdefault(rule.origin.name, []).append(rule)
    return found


@lru_cache(maxsize=1)
def depths() -> dict[str, int]:
    """How deep the flattest text of each rule is."""
    known: dict[str, int] = {}
    while len(known) < len(rules()):
        for name, choices in rules().items():
            flat = [d for r in choices if (d := _depth(r, known)) is not None]
            if flat:
                known[name] = min(flat)
    return known


def _depth(rule: Rule, known: dict[str, int]) -> int | None:
    inner = [known.get(s.name) for s in rule.expansion if isinstance(s, NonTerminal)]
    return None if None in inner else 1 + max((d for d in inner if d is not None), default=0)


class Writer:
    """Writes rules by chance; `names` are those that a text has so far, `read` what its expressions read."""

    def __init__(self, rng: random.Random, read: Sequence[str] = ()) -> None:
        self.rng, self.read, self.names = rng, list(read), [r.partition("[")[0] for r in read]

    def of(self, rule: str, depth: int = DEEPEST, context: str = "") -> str:
        """The text of a rule, of at most this depth where one is so flat."""
        choices = rules()[rule]
        few = [r for r in choices if (_depth(r, depths()) or 0) <= depth]
        if rule in STEPS and self.rng.random() < 0.9:
            few = [r for r in choices if len(r.expansion) == 1]
        elif rule == "atom" and self.rng.random() < 0.6:
            few = [r for r in choices if r.alias in ("name", "number")]
        chosen = self.rng.choice(few or [min(choices, key=lambda r: _depth(r, depths()) or 0)])
        context = chosen.alias or (context if rule.startswith("_") else rule)
        return " ".join(filter(None, (self.symbol(s, depth - 1, context) for s in chosen.expansion)))

    def symbol(self, s: Symbol, depth: int, context: str) -> str:
        if isinstance(s, NonTerminal):
            return self.of(s.name, depth, context)
        if s.name == "NUMBER":
            return self.rng.choice(NUMBERS)
        if s.name != "NAME":
            return _spelt(s.name)
        if context in WORDS and self.rng.random() < 0.9:
            return self.rng.choice(WORDS[context])
        if context == "name" and self.read and self.rng.random() < 0.9:
            return self.rng.choice(self.read)
        if context == "target" or not self.names or self.rng.random() < 0.05:
            self.names.append(self.rng.choice(OWN))
            return self.names[-1]
        return self.rng.choice(self.names)


@lru_cache(maxsize=100)
def _spelt(terminal: str) -> str:
    return str(next(t.pattern.value for t in grammar().terminals if t.name == terminal))


def whole(rng: random.Random) -> str:
    """A text of statements, in blocks."""
    writer, lines, indent = Writer(rng), ["model M"], 0
    for _ in range(rng.randrange(1, 9)):
        line = writer.of("statement", rng.randrange(4, 12))
        lines.append("    " * indent + line)
        indent = indent + 1 if line.endswith(":") else rng.randrange(indent + 1) if rng.random() < 0.2 else indent
    return "\n".join(lines) + "\n"


def put_into(rng: random.Random, text: str) -> str:
    """A model with a statement more, or with another expression behind a `~`, a `=` or inside brackets."""
    lines = text.split("\n")
    stated = " ".join(line for line in lines if not line.startswith("#"))
    writer = Writer(rng, [r for r in READ.findall(stated) if r not in (*STATEMENTS, *RESERVED)])
    at = rng.choice([k for k, line in enumerate(lines) if line and not line.startswith("#")] or [0])
    places = list(re.finditer(r"[~=(,\[]\s*([^~=,()\[\]]+)", lines[at]))
    if places and rng.random() < 0.8:
        place = rng.choice(places)
        new = writer.of("expr", rng.randrange(8, 20))
        lines[at] = lines[at][: place.start(1)] + new + lines[at][place.end(1) :]
    else:
        lead = re.match(r"\s*", lines[at])
        lines.insert(at, (lead[0] if lead else "") + writer.of("statement", rng.randrange(4, 14)))
    return "\n".join(lines)
