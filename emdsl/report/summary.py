"""A fit in a terminal: what was derived, the estimates, the likelihood, and why it stopped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import IO, Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

MOST_ROWS = 24  # of one parameter; the rest is in the saved fit
MOST_NUMBERS = 6  # in one row


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
    name: str, value: np.ndarray[Any, np.dtype[Any]], labels: list[str] | None = None
) -> Iterator[tuple[str, str]]:
    """A parameter as rows of a table: the last axis along a row, the axes before it as the index."""
    array = np.asarray(value, float)
    if array.ndim == 0:
        yield name, number(float(array))
        return
    leading = array.shape[:-1]
    for count, index in enumerate(np.ndindex(*leading)):
        if count == MOST_ROWS:
            yield f"{name}[...]", f"{int(np.prod(leading)) - count} more rows"
            return
        shown = [labels[i] if labels and axis == 0 and i < len(labels) else str(i) for axis, i in enumerate(index)]
        numbers = [f"{number(v):>12}" for v in array[index][:MOST_NUMBERS]]
        more = array.shape[-1] - MOST_NUMBERS
        yield (
            name + (f"[{', '.join(shown)}]" if shown else ""),
            " ".join(numbers) + (f"  ... {more} more" if more > 0 else ""),
        )


def print_fit(fit: Any, spec: Mapping[str, Any], source: str, file: IO[str]) -> None:
    """The whole summary of one fit; no colour codes where `file` is not a terminal."""
    console = Console(file=file, highlight=False)
    sizes = ", ".join(f"{n} = {v}" for n, v in fit.sizes_.items())
    console.print(Text.assemble((spec["model"], "bold"), f" fitted to {source}: {sizes}"))
    console.print(Text(plan_words(spec)))
    if fit.params_:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        table.add_column("parameter", no_wrap=True)
        table.add_column("estimate")
        outer = {v["name"]: [*(p[1] for p in v["plates"]), *v["array"]] for v in spec["variables"]}
        for name, value in fit.params_.items():
            labels = fit.labels_.get(outer[name][0]) if outer.get(name) else None
            for label, numbers in parameter_rows(name, value, labels):
                table.add_row(Text(label), Text(numbers))
        console.print()
        console.print(table)
    console.print()
    for line in outcome_lines(fit):
        console.print(Text(line))
    style = "green" if fit.converged_ else "bold yellow"
    console.print(Text(fit.message_, style=style))


def outcome_lines(fit: Any) -> Iterator[str]:
    """The log-likelihood or bound, the objective where priors make it another number, and the criteria."""
    if fit.log_likelihood_ is None:
        yield f"objective       {fit.objective_:.6f}  (a bound or a sample, not the log-likelihood)"
        return
    yield f"log-likelihood  {fit.log_likelihood_:.6f}"
    if fit.objective_ != fit.log_likelihood_:
        yield f"with priors     {fit.objective_:.6f}"
    if fit.n_parameters_:
        yield f"AIC {fit.aic():.3f}, BIC {fit.bic():.3f} with {fit.n_parameters_} free parameters"
