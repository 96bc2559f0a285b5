"""Why rungs of the ladder were refused, latent by latent, with the place in the model that stands in the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from emdsl.errors import NOWHERE, ModelError, Problem

LONGEST = 90  # letters of a model that a reason quotes


class Intractable(ModelError):
    """No latent of these can be eliminated: each one's own problem, by its name."""

    def __init__(self, problems: Mapping[str, Problem], source: str | None) -> None:
        super().__init__(list(dict.fromkeys(problems.values())), source)
        self.own = problems


@dataclass(frozen=True, slots=True)
class Within(Problem):
    """A tie to `partner`: nothing in the way where the two, or two elements of one, may be one Gaussian."""

    partner: str = ""


@dataclass(frozen=True)
class Refused:
    """Why no exact posterior was found; `own` for some latents, `first` for the others; `more` why nothing between."""

    first: str = ""
    own: Mapping[str, str] = field(default_factory=dict)
    more: str = ""

    def __bool__(self) -> bool:
        return bool(self.first)

    def of(self, latent: str) -> str:
        """Why the rungs above were refused, for one latent."""
        return self.own.get(latent, self.first) + self.more


def refused(error: ModelError) -> Refused:
    """What a refusal says of each latent."""
    own = error.own if isinstance(error, Intractable) else {}
    return Refused(placed(error.problems[0], error.source), {n: placed(p, error.source) for n, p in own.items()})


def placed(problem: Problem, source: str | None) -> str:
    """A problem's sentence with the expression of the model that it is about."""
    quoted = _quoted(problem, source) if problem.code == "E110" else ""  # a family that there is none of has no place
    return f"{problem.message}, in `{quoted}`" if quoted and quoted not in problem.message else problem.message


def _quoted(problem: Problem, source: str | None) -> str:
    span, lines = problem.span, source.splitlines() if source is not None else []
    if span is NOWHERE or not 1 <= span.line <= len(lines):
        return ""
    end = span.end_column if span.end_line == span.line else len(lines[span.line - 1]) + 1
    text = " ".join(lines[span.line - 1][span.column - 1 : end - 1].split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
