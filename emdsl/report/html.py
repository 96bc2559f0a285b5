"""A step of a derivation in HTML: for a page of its own, with anchors and links, or for a cell of a notebook."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from html import escape

from emdsl.report.formula import Formula
from emdsl.report.mathml import inline, mathml
from emdsl.report.places import anchor
from emdsl.report.prose import told

Line = tuple[str | Formula, str, str]  # a sentence, or an equation with its name in the code and its number
STYLE = (
    "body{font:16px/1.5 Georgia,serif;max-width:52em;margin:2em auto;padding:0 1em;color:#111}"
    "h1,h2,p{overflow-wrap:anywhere}h1{font-size:1.5em}h2{font-size:1.15em;margin-top:1.8em}code{font-size:.9em}"
    "pre{background:#f5f5f2;padding:.8em;overflow-x:auto;white-space:pre-wrap;overflow-wrap:anywhere}"
    "math{font-size:1.1em}h2{display:flex;justify-content:space-between;gap:1em}h2>code{font-weight:normal;color:#666}"
    ".show{display:flex;align-items:center;margin:.3em 0;padding:.2em 0;overflow:auto hidden;break-inside:avoid}"
    ".show math{flex:1}.show>span{text-align:right;margin-left:auto;padding-left:1em;overflow-wrap:anywhere}"
    ".show>span>a{white-space:nowrap}.show{flex-wrap:wrap}"
    ".where{font-size:.85em;color:#666}.where a,pre a{color:inherit}pre span:target{background:#fd6}"
    ".show code{color:#666;margin-right:.8em}.show a{color:inherit;text-decoration:none}"
    "@media print{@page{margin:18mm}body{margin:0;padding:0;max-width:none;font-size:10pt}"
    ".show{overflow:visible}h2,p:has(+.show){break-after:avoid}}"
    "@media screen and (prefers-color-scheme:dark){:root{color-scheme:dark}body{background:#17191c;color:#e4e4e4}"
    "pre{background:#24272b}h2>code,.where,.show code{color:#a9adb3}pre span:target{background:#7a5c00}}"
)
IN_A_CELL = (
    ".emdsl h2{font-size:1.15em;display:flex;justify-content:space-between}.emdsl h2>code{font-weight:normal}"
    ".emdsl .show{display:flex;align-items:center;margin:.3em 0;overflow:auto hidden}.emdsl .show math{flex:1}"
    ".emdsl .show>span{margin-left:1em;white-space:nowrap}.emdsl .show code{margin-right:.8em}"
    ".emdsl math{font-size:1.1em}.emdsl h2,.emdsl p{overflow-wrap:anywhere}"
)


def step_html(title: str, code: str, lines: Iterable[Line], k: int = 0, where: str = "", linked: bool = False,
              names: Collection[str] = ()) -> Iterator[str]:  # fmt: skip
    """A step with its number `k`, where it has one; `linked`: with anchors; `where` its lines in the module are;
    `names` are the model's."""
    place = f' id="step-{k}"' if linked else ""
    code = f"<code>{escape(code)}</code>" if code else ""
    yield f"<h2{place}><span>{f'{k}. ' if k else ''}{coded(title)}</span>{code}</h2>"
    for shown, called, label in lines:
        if isinstance(shown, str):
            yield f"<p>{coded(shown, names)}</p>"
            continue
        place = f' id="eq-{anchor(label)}"' if label and linked else ""
        name = f"<code>{escape(called)}</code>" if called else ""
        number = f"({label})" if label else ""
        number = f'<a href="#eq-{anchor(label)}">{number}</a>' if label and linked else number
        yield f'<div class="show"{place}>{mathml(shown)}<span>{name}{number}</span></div>'
    if where:
        yield f'<p class="where">{_linked(where)}</p>'


def as_typed(text: str) -> str:
    """Text whose columns mean something, in a notebook, whose own style may set `pre` in a proportional font."""
    return f'<pre style="font-family:monospace;white-space:pre;overflow-x:auto">{escape(text)}</pre>'


def in_a_cell(lines: Iterable[str]) -> str:
    """For a notebook: no page of its own."""
    return "\n".join([f'<div class="emdsl"><style>{IN_A_CELL}</style>', *lines, "</div>"])


def _linked(said: str) -> str:
    """A sentence that is HTML already, but for names in backticks: identifiers of the module."""
    return "".join(f"<code>{p}</code>" if n % 2 else p for n, p in enumerate(said.split("`")))


def coded(said: str, names: Collection[str] = ()) -> str:
    """A sentence, names in backticks as code and its formulas as formulas."""
    return "".join(
        inline(formula) if formula is not None else f"<code>{escape(text)}</code>" if ticked else escape(text)
        for text, formula, ticked in told(said, names)
    )
