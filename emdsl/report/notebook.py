"""What a notebook shows of a model and of a fit: HTML with MathML and SVG, no script, nothing loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from emdsl.report.derivation import Derivation
from emdsl.report.formula import Formula
from emdsl.report.html import as_typed
from emdsl.report.mathml import mathml
from emdsl.report.page import shown_of, worded
from emdsl.report.summary import all_rows, outcome_lines, plan_words

LEFT = ' style="text-align:left"'


def table(head: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]]) -> str:
    """Cells are HTML."""
    titles = "".join(f"<th{LEFT}>{h}</th>" for h in head)
    body = "".join("<tr>" + "".join(f"<td{LEFT}>{c}</td>" for c in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>"


def model_html(name: str, diagram: str, plan: Mapping[str, Any], derivation: Derivation) -> str:
    """The plate diagram, how each latent is found, and the equation that updates each parameter."""
    out = [f"<b>{escape(name)}</b>", f"<div>{diagram}</div>"]
    if plan:
        rows = ((f"<code>{escape(n)}</code>", escape(p.method), escape(worded(p.reason))) for n, p in plan.items())
        out.append(table(("latent", "found by", "because"), rows))
    found = list(_updates(derivation))
    out += [table(("parameter", "updated by", ""), found)] if found else []
    return "<div>" + "\n".join(out) + "</div>"


def records(told: Mapping[str, Mapping[str, str | Sequence[Formula]]]) -> str:
    """A table of records by name: text, or equations."""
    head = dict.fromkeys(column for cells in told.values() for column in cells)

    def cell(found: str | Sequence[Formula]) -> str:
        return escape(worded(found)) if isinstance(found, str) else "".join(map(mathml, dict.fromkeys(found)))

    rows = ([f"<code>{escape(name)}</code>", *map(cell, cells.values())] for name, cells in told.items())
    return table(("", *head), rows)


def _updates(derivation: Derivation) -> Iterator[tuple[str, str, str]]:
    """Parameters, kind, and their equations."""
    for step in derivation.steps:
        if step.facts.get("kind") == "update":
            found = dict.fromkeys(e for n in step.facts["parameters"] for e in shown_of(step, n))
            shown = "".join(map(mathml, found))
            names = ", ".join(f"<code>{escape(n)}</code>" for n in step.facts["parameters"])
            yield names, escape(step.facts["update"]), shown


def fit_html(fit: Any, spec: Mapping[str, Any]) -> str:
    """The estimates, the log-likelihood and how the fit ended: what `emdsl fit` prints."""
    sizes = ", ".join(f"{n} = {fit.sizes_[n]}" for n in spec["sizes"] if n in fit.sizes_)
    out = [f"<b>{escape(spec['model'])}</b> {escape(sizes)}", escape(plan_words(spec))]
    rows = [
        (f"<code>{escape(label)}</code>", f"<code>{escape(numbers)}</code>") for label, numbers in all_rows(fit, spec)
    ]
    out += [table(("parameter", "estimate"), rows)] if rows else []
    out.append(as_typed("\n".join([*outcome_lines(fit), fit.message_])))
    return "<div>" + "<br/>".join(out) + "</div>"
