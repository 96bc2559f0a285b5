"""What signs mean that not every reader knows, said in the step where they first stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from emdsl.report import formula as f
from emdsl.report.formula import Formula
from emdsl.report.page import Say, Show, Step
from emdsl.report.vectors import UNIT
from emdsl.report.walking import parts

PLACE = "e with a number is the unit vector with its one there."
BRACKET = "`[...]` is 1 where it holds, else 0."
WORDS = {
    "softplus": "softplus(a) = log(1 + exp(a)).",
    "logistic": "logistic(a) = 1 / (1 + exp(-a)).",
    "atan2": "atan2(s, c) is the angle of the point (c, s).",
    "digamma": "ψ is the derivative of log Γ.",
    "trigamma": "ψ′ is the derivative of ψ.",
    "Phi": "Φ is the distribution function of the standard normal.",
    "phi": "φ is the density of the standard normal.",
    "logdet": "logdet is the log of the determinant.",
}


def explained(steps: Sequence[Step]) -> list[Step]:
    """The steps, each with what its signs mean that stand in none before it."""
    known: set[str] = set()
    out = []
    for step in steps:
        here = [p for line in step.body if isinstance(line, Show) for p in parts(line.formula)]
        new = dict.fromkeys(text for p in here if (text := _meaning(p)) and text not in known)
        known |= {*new}
        said = any(isinstance(line, Say) and "`[...]` is 1" in line.text for line in step.body)
        lines = [Say(" ".join(t for t in new if not (said and t == BRACKET)))]
        out.append(replace(step, body=(*step.body, *(line for line in lines if line.text))))
    return out


def _meaning(e: Formula) -> str:
    match e:
        case f.Bracket(body) if not isinstance(body, f.Listed):
            return BRACKET
        case f.At(base, (f.Number(),)) if base == UNIT:
            return PLACE
        case f.Word("I0" | "I1"):
            return "I₀ and I₁ are modified Bessel functions of the first kind."
        case f.Word(text):
            return WORDS.get(text, "")
    return ""
