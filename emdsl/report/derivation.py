"""The derivation of a model as numbered steps, for people and for programs (first version)."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any

import sympy as sp

from emdsl.derive.plan import Plan
from emdsl.report.equations import equation, readable, statistic_equation


@dataclass(frozen=True)
class Step:
    title: str
    lines: tuple[str, ...]
    data: dict[str, Any]


@dataclass(frozen=True)
class Derivation:
    """Numbered steps in textbook order."""

    model: str
    steps: tuple[Step, ...]

    @classmethod
    def of(cls, plan: Plan) -> Derivation:
        shown = readable(plan)
        steps = [
            Step("Posterior", (f"{n}: {c.method} ({c.reason})",), {"latent": n, "method": c.method, "reason": c.reason})
            for n, c in plan.choices.items()
        ]
        for s in shown.expected.statistics:
            eq = statistic_equation(s, shown)
            steps.append(Step("Statistic", (str(eq),), {"statistic": s.name, "definition": str(eq)}))
        for u in shown.updates:
            for n in u.params:
                eq = equation(u.rule, n, shown)
                steps.append(
                    Step(
                        "Update",
                        (f"{n}: {u.kind}. {u.reason}", str(eq)),
                        {
                            "parameter": n,
                            "kind": u.kind,
                            "reason": u.reason,
                            "equation": str(eq),
                            "conditional_on": list(u.conditional_on),
                        },
                    )
                )
        return cls(plan.joint.model.name, tuple(steps))

    def __str__(self) -> str:
        return "\n".join(f"{k}. {s.title}: " + "\n   ".join(s.lines) for k, s in enumerate(self.steps, 1))

    def to_dict(self) -> dict[str, Any]:
        return {"model": self.model, "steps": [{"title": s.title, **s.data} for s in self.steps]}

    def to_markdown(self) -> str:
        return f"# {self.model}\n\n```\n{self}\n```\n"

    def to_latex(self) -> str:
        return (
            "\\documentclass{article}\\begin{document}\\begin{verbatim}\n"
            + str(self)
            + "\n\\end{verbatim}\\end{document}\n"
        )

    def to_html(self) -> str:
        return f"<!doctype html><meta charset=utf-8><title>{html.escape(self.model)}</title><pre>{html.escape(str(self))}</pre>"

    def _repr_markdown_(self) -> str:
        return self.to_markdown()


_ = sp
