"""A fit in a terminal: what was derived, the estimates, the likelihood, and why it stopped."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import IO, Any

import numpy as np
from rich.console import Console
from rich.text import Text

from emdsl.errors import EmdslError, harmless

MOST_ROWS = 24  # of one parameter; the rest is in the saved fit
NUMBERS = 4  # in one row of 80 characters
MOST_CELLS = 4  # missing entries of a column; the rest is in the table of all
MOST_ENTRIES = 200_000  # of data with missing ones: of more, their posterior takes room that is asked for
LEVELS = 4  # of one missing label, the most probable


def plan_words(spec: Mapping[str, Any]) -> str:
    """How each latent is inferred and each parameter updated, names with the same answer together."""
    plan: dict[str, list[str]] = {}
    for name, (method, *_) in spec.get("plan", {}).items():
        plan.setdefault(method, []).append(name)
    for name, (kind, *_) in spec.get("updates", {}).items():
        plan.setdefault(kind, []).append(name)
    return "; ".join(f"{', '.join(names)} by {how}" for how, names in plan.items()) or "nothing to infer"


def number(value: float) -> str:
    """Seven significant digits: enough to compare with a table, few enough to read."""
    return f"{value:.7g}"


def parameter_rows(
    name: str, value: np.ndarray[Any, np.dtype[Any]], labels: Sequence[Sequence[str] | None] = ()
) -> Iterator[tuple[str, str]]:
    """A parameter as rows of a table: the last axis along a row, the axes before it as the index.

    Elements that the data named, by axis in `labels`, are shown by their names: on the last axis one a row.
    """
    array = np.asarray(value, float)
    if len(labels) == array.ndim and array.ndim and labels[-1]:
        array = array[..., None]
    if array.ndim == 0:
        yield name, f"{number(float(array)):>12}"
        return
    leading = array.shape[:-1]
    each = -(-array.shape[-1] // NUMBERS)
    for count, index in enumerate(np.ndindex(*leading)):
        if count * each >= MOST_ROWS:
            yield f"{name}[...]", f"{int(np.prod(leading)) - count} more"
            return
        names = [*labels, *[None] * len(index)]
        shown = [known[i] if known and i < len(known) else str(i) for known, i in zip(names, index, strict=False)]
        label = name + (f"[{harmless(', '.join(shown), lines=False)}]" if shown else "")
        numbers = [f"{number(v):>12}" for v in array[index]]
        lines = [" ".join(numbers[i : i + NUMBERS]) for i in range(0, len(numbers), NUMBERS)]
        for i, line in enumerate(lines[:MOST_ROWS]):
            yield "" if i else label, line
        if len(lines) > MOST_ROWS:
            yield "", f"... {len(numbers) - MOST_ROWS * NUMBERS} more"


def print_fit(fit: Any, spec: Mapping[str, Any], source: str, file: IO[str]) -> None:
    """The whole summary of one fit; no colour codes where `file` is not a terminal."""
    console = Console(file=file, highlight=False)
    sizes = ", ".join(f"{n} = {fit.sizes_[n]}" for n in spec["sizes"] if n in fit.sizes_)
    console.print(Text.assemble((spec["model"], "bold"), f" fitted to {harmless(source, lines=False)}"))
    console.print(Text(wrapped(sizes, console)))
    console.print(Text(wrapped(plan_words(spec), console)))
    console.print()
    rows = list(all_rows(fit, spec))
    if rows:
        width = max(len("parameter"), *(len(label) for label, _ in rows)) + 2
        console.print(Text(f"{'parameter':<{width}}{'estimate':>12}", style="bold"))
        for label, numbers in rows:
            console.print(Text(f"{label:<{width}}{numbers}"), soft_wrap=True)
        console.print()
    for line in missing_lines(fit):
        console.print(Text(line), soft_wrap=True)
    for line in outcome_lines(fit):
        console.print(Text(line))
    console.print(Text(wrapped(harmless(fit.message_), console), style="green" if fit.converged_ else "bold yellow"))
    for unsettled in fit.unidentified_ or ():
        console.print(Text(wrapped(harmless(str(unsettled)), console), style="yellow" if unsettled.directions else ""))


def wrapped(text: str, console: Console) -> str:
    """Lines that fit, none with a blank at its end."""
    return textwrap.fill(text, console.width, break_long_words=False, break_on_hyphens=False)


def all_rows(fit: Any, spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The rows of every parameter; an axis that the data named in text is shown by its labels.

    A number names no axis: of coordinates, which are no levels, there may be as many.
    """
    for name, value in fit.params_.items():
        v = next((v for v in spec["variables"] if v["name"] == name), None)
        if v is None:
            yield from parameter_rows(name, value)
            continue
        outer = [*(p[1] for p in v["plates"]), *v["array"]]
        event = [size if v["domain"] == "simplex" or not str(size).isdigit() else None for size in v["event"]]
        yield from parameter_rows(name, value, [fit.labels_.get(str(size)) for size in (*outer, *event)])


def missing_lines(fit: Any) -> Iterator[str]:
    """The first missing entries of each variable, with mean and standard deviation, or the most probable levels."""
    bound = fit.written() if hasattr(fit, "written") else None
    masks = [m for m in bound.masks.values() if m is not None] if bound is not None else []
    count, cells, why = sum(int((~m).sum()) for m in masks), [], ""
    if not count:
        return
    if sum(m.size for m in masks) <= MOST_ENTRIES:
        try:
            cells = fit.missing_cells()
        except EmdslError as error:
            why = f", of which nothing is told: {error.problems[0].message}"
    names = dict.fromkeys(cell.variable for cell in cells)
    rows = [row for n in names for row in islice((cell_row(c) for c in cells if c.variable == n), MOST_CELLS)]
    if not rows:
        yield f"{count} missing entries{why or ': --imputed FILE.csv, or imputed_, has what is told of them'}\n"
        return
    rows = [("missing", "estimate"), *rows]
    width = max(len(label) for label, _ in rows) + 2
    yield from (f"{label:<{width}}{told}" for label, told in rows)
    if len(rows) <= len(cells):
        yield f"{len(cells) - len(rows) + 1} more: --imputed FILE.csv, or imputed_, has all"
    yield ""


def cell_row(cell: Any) -> tuple[str, str]:
    """Which entry it is, and what is told of it."""
    label = harmless(", ".join((cell.variable, *(f"{n} = {v}" for n, v in cell.place.items()))), lines=False)
    if not cell.discrete:
        return label, f"{number(cell.told['mean'])} (sd {number(cell.told['sd'])})"
    ranked = sorted(cell.told.items(), key=lambda item: -item[1])[:LEVELS]
    return label, ", ".join(f"{harmless(str(level), lines=False)} {p:.4f}" for level, p in ranked)


def outcome_lines(fit: Any) -> Iterator[str]:
    """The log-likelihood or bound, the objective where priors make it another number, and the criteria."""
    objective = -np.inf if fit.objective_ is None else fit.objective_  # JSON holds no infinity
    if fit.log_likelihood_ is None:
        yield f"objective       {objective:.6f}  (a bound or a sample, not the log-likelihood)"
        return
    yield f"log-likelihood  {fit.log_likelihood_:.6f}"
    if objective != fit.log_likelihood_:
        yield f"with priors     {objective:.6f}"
    if fit.n_parameters_:
        yield f"AIC {fit.aic():.3f}, BIC {fit.bic():.3f} with {fit.n_parameters_} free parameters"
