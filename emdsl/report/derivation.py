"""The derivation of a model: numbered steps, as text, Markdown, LaTeX, HTML and data.

Everything is read off the plan that the generated module was printed from; nothing is derived twice.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from html import escape
from typing import Any, Protocol

from emdsl.derive.plan import Plan
from emdsl.errors import ArgumentError, Problem
from emdsl.report.counted import counted
from emdsl.report.difference import Difference, difference
from emdsl.report.equations import readable
from emdsl.report.gaps import missing_step
from emdsl.report.html import STYLE, coded, in_a_cell
from emdsl.report.latex import display, escaped, inside, tex
from emdsl.report.page import BESIDE, COLUMNS, SENTENCE, Say, Show, Step, columns_of_page, labels, shown_names
from emdsl.report.places import Place, anchor, by_function, listing, places, whole
from emdsl.report.prose import told
from emdsl.report.reference import as_written, reference_step
from emdsl.report.shortened import shortened
from emdsl.report.steps import steps
from emdsl.report.unicode import lines, text
from emdsl.report.walking import tree

LIMITS = "Sums run from 1, but those over a plate of which an element is called by its number: from 0, as in the code."
PREAMBLE = r"""\documentclass{article}
\usepackage{amsmath,amssymb}
\usepackage[margin=2.5cm]{geometry}
\setlength{\parindent}{0pt}
\setlength{\parskip}{4pt plus 2pt}
\setlength{\emergencystretch}{6em}
\allowdisplaybreaks[1]
"""


class Derived(Protocol):
    """What has a derivation: a compiled model."""

    @property
    def derivation(self) -> Derivation: ...


@dataclass(frozen=True)
class Derivation:
    """Numbered steps in textbook order: joint, posteriors, statistics, Q, updates, objective."""

    model: str
    source: str
    steps: tuple[Step, ...]
    centred: tuple[str, ...] = ()
    module: str = ""  # the text of the generated module, whose lines are named

    @classmethod
    def of(cls, plan: Plan, module: str = "") -> Derivation:
        """The derivation of a plan, in the coordinates of the model file; with a module's text, its lines."""
        model = plan.joint.model
        shown = readable(plan)
        own = steps(shown)
        written = [*own, *reference_step(plan, bool(shown.shifts)), *missing_step(shown, own)]
        if shown.shifts:
            written[0] = as_written(plan, written)
        return cls(model.name, model.source, counted(written), plan.centred, module)

    @property
    def note(self) -> str:
        """Where the equations are in the generated module."""
        said = (
            "The functions beside the titles are the generated module's; its comments name equations, or whole steps, "
        )
        said += "by number."
        return f"{said} Lines are counted from the module's first." if self.module else said

    @property
    def note_on_limits(self) -> str:
        """The same, with where sums begin, for forms that show it."""
        return f"{self.note} {LIMITS}"

    def places(self, k: int, step: Step) -> dict[str, dict[str, list[Place]]]:
        """Where the module computes a step and its equations: number -> function -> places."""
        if not self.module:
            return {}
        found = places(self.module)
        numbers = dict.fromkeys([str(k), *(whole(n) for n in labels(k, step) if n)])
        return {n: by_function(found[n]) for n in numbers if n in found}

    def where(self, k: int, step: Step, html: bool = False) -> str:
        """The same as a sentence, empty where the module computes nothing of it."""
        said = []
        for number, functions in self.places(k, step).items():
            parts = []
            for function, here in functions.items():
                spots = [f'<a href="#line-{p.first}">{p}</a>' if html else str(p) for p in here]
                parts.append(f"`{function}` {', '.join(spots)}")
            said.append((f"({number}) " if number != str(k) else "") + ", ".join(parts))
        return f"Lines of the module: {'; '.join(said)}." if said else ""

    @property
    def shown(self) -> tuple[Step, ...]:
        """The steps as they are printed, the longest names cut."""
        return shortened(self.steps)

    def lines(self, k: int, step: Step) -> Iterator[tuple[Say | Show, str]]:
        """The lines of a step with the numbers of its equations."""
        return zip(step.body, labels(k, step), strict=True)

    # ------------------------------------------------------------ forms

    def __str__(self) -> str:
        return self.to_text()

    __repr__ = __str__  # what a prompt shows, that is no notebook

    def to_text(self, columns: int = COLUMNS) -> str:
        """Plain text for a page of so many columns: what is longer is folded within its brackets."""
        wide, names = columns_of_page(columns) - BESIDE, shown_names(self.shown)
        out = [self.model, "=" * len(self.model), ""]
        for k, step in enumerate(self.shown, 1):
            title = f"{k}. {step.title.replace('`', '')}"
            code = step.facts.get("code", "")
            out.append(f"{title:<{wide + 6 - len(code)}}  {code}".rstrip())
            for line, label in self.lines(k, step):
                out += _said(line.text, wide, names) if isinstance(line, Say) else _plain(line, label, wide)
            out += _said(self.where(k, step), wide)
            out.append("")
        return "\n".join([*out, *_said(self.note, wide)]).rstrip()

    def to_dict(self) -> dict[str, Any]:
        """Every step as data: facts, sentences, equations as text, as LaTeX and as trees."""
        return {
            "model": self.model,
            "source": self.source,
            "steps": [
                {
                    "number": k,
                    "title": s.title.replace("`", ""),
                    **s.facts,
                    "lines": [_data(*line) for line in self.lines(k, s)],
                    "module": [
                        {"equation": number, "function": p.function, "first": p.first, "last": p.last}
                        for number, functions in self.places(k, s).items()
                        for here in functions.values()
                        for p in here
                    ],
                }
                for k, s in enumerate(self.steps, 1)
            ],
            "centred": list(self.centred),
        }

    def to_markdown(self, dollars: bool = False) -> str:
        """Markdown with equations in fences, which no reader of Markdown changes; between `dollars`, as notebooks
        have them, GitHub takes backslashes and underscores for its own."""
        out, names = [f"# {_quiet(self.model)}", "", *_fenced(self.source)], shown_names(self.shown)
        for k, step in enumerate(self.shown, 1):
            code = f" · `{step.facts['code']}`" if "code" in step.facts else ""
            out += [f"## {k}. {step.title}{code}", ""]
            for line, label in self.lines(k, step):
                if isinstance(line, Say):
                    out += [_marked(line.text, names, dollars), ""]
                else:
                    name = f"`{line.name}`:\n\n" if line.name else ""
                    start, end = ("$$", "$$") if dollars else ("```math", "```")
                    out += [f"{name}{start}\n{inside(line.formula, label)}\n{end}", ""]
            out += [self.where(k, step), ""] if self.module else []
        return "\n".join([*out, self.note_on_limits]).rstrip() + "\n"

    def to_latex(self) -> str:
        """A document of the article class."""
        out = [
            PREAMBLE + rf"\title{{{escaped(self.model)}}}",
            r"\author{}",
            r"\date{}",
            r"\begin{document}",
            r"\maketitle",
        ]
        names = shown_names(self.shown)
        for k, step in enumerate(self.shown, 1):
            code = step.facts.get("code", "")
            beside = rf"\hfill{{\normalfont\small\texttt{{{escaped(code)}}}}}" if code else ""
            out.append(rf"\section[{_ticked(step.title)}]{{{_ticked(step.title)}{beside}}}")
            after = (*step.body[1:], Say(""))  # no paragraph ends before a display: it would leave an empty line
            for (line, label), follows in zip(self.lines(k, step), after, strict=True):
                if isinstance(line, Say):
                    out.append(_ticked(line.text, names) + ("\n" if isinstance(follows, Say) else ""))
                else:
                    out.append(display(line.formula, label))
            out.append(_ticked(self.where(k, step)) + "\n")
        return "\n".join([*out, _ticked(self.note_on_limits), r"\end{document}", ""])

    def to_html(self) -> str:
        """One page: MathML, no script, nothing loaded."""
        title = escape(self.model)
        out = ["<!DOCTYPE html>", '<html lang="en">', "<head>", '<meta charset="utf-8">']
        out += ['<meta name="viewport" content="width=device-width, initial-scale=1">', f"<title>{title}</title>"]
        out += [f"<style>{STYLE}</style>", "</head>", "<body>", f"<h1>{title}</h1>"]
        out += [f"<pre>{escape(self.source.strip())}</pre>"] if self.source.strip() else []
        out += self._html_steps(linked=True)
        out.append(f"<p>{coded(self.note_on_limits)}</p>")
        if self.module:
            known = {anchor(n) for k, step in enumerate(self.steps, 1) for n in labels(k, step) if n}
            out.append(f'<h2 id="module">The functions of the module</h2>\n<pre>{listing(self.module, known)}</pre>')
        return "\n".join([*out, "</body>", "</html>", ""])

    def _html_steps(self, linked: bool) -> Iterator[str]:
        names = shown_names(self.shown)
        for k, step in enumerate(self.shown, 1):
            yield from step.html(k, self.where(k, step, html=True) if linked else "", linked, names)

    def difference(self, other: Derivation | Derived) -> Difference:
        """What changes from this derivation to another, or to a model's: equation by equation.

        Raises `ArgumentError` where `other` is neither.
        """
        of = other if isinstance(other, Derivation) else getattr(other, "derivation", None)
        if not isinstance(of, Derivation):
            got = type(other).__name__
            raise ArgumentError(Problem("D016", f"difference takes a derivation or a compiled model, not {got}"))
        return difference((self.steps, of.steps), (self.source, of.source))

    def _repr_html_(self) -> str:
        """The steps for a notebook: no page of its own, no anchors that another cell may have."""
        return in_a_cell(self._html_steps(linked=False))

    def _repr_markdown_(self) -> str:
        return self.to_markdown(dollars=True)


def _said(said: str, wide: int, names: Collection[str] = ()) -> list[str]:
    parts = told(said, names)
    plain = "".join(text(formula) if formula is not None and " @ " in said else said for said, formula, _ in parts)
    indent = "   "
    return textwrap.wrap(
        plain, min(wide + 7, SENTENCE), initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )


def _plain(line: Show, label: str, wide: int) -> list[str]:
    *rows, last = (f"       {row}" for row in lines(line.formula, wide))
    number = f"  ({label})" if label else ""
    if number and len(last) > wide + 2 and len(last) + len(number) > wide + BESIDE:
        return [*rows, last, f"{'':<{wide + 2}}{number}"]
    return [*rows, f"{last:<{wide + 2}}{number}" if label else last]


def _data(line: Say | Show, label: str) -> dict[str, Any]:
    if isinstance(line, Say):
        return {"say": line.text.replace("`", "")}
    named = ({"name": line.name} if line.name else {}) | ({"number": label} if label else {})
    named |= {"of": line.of} if line.of else {}
    return {"text": text(line.formula), "latex": inside(line.formula), "tree": tree(line.formula), **named}


def _quiet(name: str) -> str:
    """A name that Markdown does not read as markup."""
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", name)


def _fenced(source: str) -> list[str]:
    """The model's text in a fence longer than any that it holds."""
    if not source.strip():
        return []
    longest = max((len(ticks) for ticks in re.findall("`+", source)), default=0)
    fence = "`" * max(3, longest + 1)
    return [fence, source.strip(), fence, ""]


def _marked(said: str, names: Collection[str], dollars: bool) -> str:
    """A sentence for Markdown, its formulas between dollars."""
    tick = "" if dollars else "`"
    parts = told(said, names)
    return "".join(f"${tick}{tex(formula)}{tick}$" if formula is not None else f"`{part}`" if ticked else part
                   for part, formula, ticked in parts)  # fmt: skip


def _ticked(said: str, names: Collection[str] = ()) -> str:
    """A sentence for LaTeX; lines may be broken within the user's names, after an underscore."""
    out = []
    for part, formula, ticked in told(said, names):
        plain = escaped(part).replace(r"\_", r"\_\allowbreak{}")
        if ticked:
            for sign, word in (("<", r"\textless{}"), (">", r"\textgreater{}"), ("|", r"\textbar{}")):
                plain = plain.replace(word, sign)  # typewriter letters hold them
        out.append(f"${tex(formula)}$" if formula is not None else rf"\texttt{{{plain}}}" if ticked else plain)
    return "".join(out)
