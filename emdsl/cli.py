"""The command line. Each command imports what it needs, so that `emdsl --help` is quick."""

from __future__ import annotations

import gc
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from emdsl import __version__
from emdsl.errors import EmdslError, InternalError, Problem, harmless
from emdsl.report.output import (
    as_text,
    cells_of,
    check_files,
    check_output,
    end_at_once,
    harmless_errors,
    last_resort,
    leave_output,
    page_columns,
    problem_facts,
    put,
    status_of,
    stop_when_told,
)

if TYPE_CHECKING:
    from emdsl.fit.fitter import Fitter
    from emdsl.fit.model import Model

PATH = click.Path(readable=False)  # who reads it tells why it cannot be read, with status 1
MODEL = click.argument("model", metavar="MODEL.em", type=PATH)
OUTPUT = click.option("-o", "--output", type=PATH, metavar="FILE", help="Write there, not to the terminal.")
INFER = click.option(
    "--infer", multiple=True, metavar="NAME=METHOD", help="Infer a latent so, as an `infer` line would."
)
SEED = click.option("--seed", type=click.IntRange(0), help="Repeat the same random numbers.")
SIZE = click.option("--size", multiple=True, metavar="NAME=N", help="A size: K=3.")
INTERRUPTED = 130
FORMATS: Mapping[str, Callable[[Any, str | None], str]] = {  # of a derivation; text and json of a difference, too
    "text": lambda found, output: found.to_text(page_columns(output)),
    "latex": lambda found, _: found.to_latex(),
    "html": lambda found, _: found.to_html(),
    "markdown": lambda found, _: found.to_markdown(),
    "json": lambda found, _: as_text(found.to_dict()),
}
AS_JSON = click.option("--json", "as_json", is_flag=True, help="The same facts for programs.")


def pairs(option: str, items: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE` options as a dict."""
    out: dict[str, str] = {}
    for item in items:
        name, sign, value = item.partition("=")
        if not sign or not name.strip() or not value.strip():
            raise click.UsageError(f"{option} needs NAME=VALUE, not {item!r}")
        if name.strip() in out:
            raise click.UsageError(f"{option} names {name.strip()} twice")
        out[name.strip()] = value.strip()
    return out


def column_lists(items: Sequence[str]) -> dict[str, list[str]]:
    """`--column x=a,b` options as names of columns; in quotes, as in a CSV file, a name may hold commas."""
    found = {n: [c.strip() for c in cells_of(v)] for n, v in pairs("--column", items).items()}
    for name, columns in found.items():
        if not all(columns):
            raise click.UsageError(f"--column {name}: a name between commas is empty")
    return found


def size_pairs(items: Sequence[str]) -> dict[str, int]:
    """`--size K=3` options as numbers."""
    found = pairs("--size", items)
    for name, value in found.items():
        if not (value.isascii() and value.isdigit()) or len(value) > 12 or int(value) < 1:
            shown = value if len(value) < 40 else value[:37] + "..."
            raise click.UsageError(f"--size {name}={shown}: a size is a positive whole number, below 10^12")
    return {name: int(value) for name, value in found.items()}


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="%(prog)s %(version)s")
def commands() -> None:
    """Write a probabilistic model; emdsl derives its EM algorithm, prints it and runs it."""


# ------------------------------------------------------------------ helpers


def compiled(path: str, infer: Sequence[str] = ()) -> Model:
    """The compiled model of a file, under `--infer` options."""
    from emdsl.fit.model import Model

    return Model.from_text(model_text(path), "<stdin>" if path == "-" else path, pairs("--infer", infer) or None)


def model_text(path: str) -> str | bytes:
    """The content of a model file; bytes are decoded by the parser, which says where they are wrong."""
    from emdsl.compiler import read_model
    from emdsl.fit.readers import standard_input
    from emdsl.language.reading import ENOUGH

    return standard_input().read(ENOUGH) if path == "-" else read_model(Path(path))


def unanswered(error: NotImplementedError) -> EmdslError:
    """What this release cannot answer, as other mistakes are told."""
    return EmdslError(Problem("E121", str(error) or "this is not available in this release"))


# ------------------------------------------------------------------ fit


@commands.command()
@MODEL
@click.argument("data", metavar="DATA", type=PATH)
@click.option("-o", "--output", type=PATH, metavar="FIT.json", help="Save the fit there, as JSON or .npz, too.")
@SIZE
@click.option("--column", multiple=True, metavar="X=A,B", help="The columns that hold a variable.")
@click.option("--index", multiple=True, metavar="S=COLUMN", help="The column that tells a plate's elements apart.")
@click.option("--weights", metavar="COLUMN", help="A column of weights: 2 is the row twice.")
@INFER
@SEED
@click.option("--init", type=PATH, metavar="FIT.json", help="Start from a saved fit, or from JSON of numbers by name.")
@click.option(
    "--n-init", type=click.IntRange(1), default=1, show_default=True, help="Number of starts; the best is kept."
)
@click.option("--max-iter", type=click.IntRange(0), default=5000, show_default=True, help="Most iterations.")
@click.option(
    "--tol", type=click.FloatRange(0), default=1e-9, show_default=True, help="Relative change to stop at; 0 never."
)
@click.option(
    "--on-degenerate",
    type=click.Choice(["raise", "keep", "restart", "regularise"]),
    default="raise",
    show_default=True,
    help="What to do when a component collapses.",
)
@click.option("--imputed", type=PATH, metavar="FILE.csv", help="Write what is told of missing entries.")
@click.option("--plot", type=PATH, metavar="FILE.svg", help="Draw the objective by iteration.")
@click.option("--progress", is_flag=True, help="Say how far the fit is, on standard error.")
@AS_JSON
def fit(model: str, data: str, **options: Any) -> None:
    """Fit MODEL.em to DATA (CSV, Parquet or JSON) and print the estimates; one of the two may be - (standard input)."""
    if model == data == "-":
        raise click.UsageError("the model and the data cannot both be standard input")
    from emdsl.fit.readers import read_table_file
    from emdsl.fit.tables import fit_table

    check_files({f"--{n}": options[n] for n in ("output", "plot", "imputed")}, model, data, options["init"])
    if options["plot"] and not options["plot"].lower().endswith(".svg"):
        raise click.UsageError("--plot writes SVG: give a name that ends in .svg")
    sizes, index = size_pairs(options["size"]), pairs("--index", options["index"])
    columns = column_lists(options["column"])
    built = compiled(model, options["infer"])
    table = read_table_file(data)
    fitter = prepared_fitter(built, sizes, options)
    fit_table(fitter, table, columns, index, options["weights"])
    saved = report_fit(fitter, data, options)
    if fitter.status_ == "interrupted":
        raise KeyboardInterrupt
    if not saved:
        raise SystemExit(1)


def prepared_fitter(built: Model, sizes: Mapping[str, int], options: Mapping[str, Any]) -> Fitter:
    """The estimator under the options of the command line; an unknown size or `--tol nan` is a wrong command line."""
    from emdsl.fit.tables import start_of
    from emdsl.runtime.fitting.settings import check_options

    chosen = {n: options[n] for n in ("n_init", "max_iter", "tol", "seed", "on_degenerate")}
    chosen["init"] = start_of(options["init"])
    try:
        check_options({**chosen, "progress": None})
    except ValueError as error:
        raise click.UsageError(f"--{error}".replace("_", "-", 1)) from None
    fitter: Fitter = built.fitter(sizes=dict(sizes), progress=options["progress"] or None, **chosen)
    try:
        fitter.passed_sizes()
    except ValueError as error:
        raise click.UsageError(f"--size: {error}") from None
    return fitter


def report_fit(fitter: Fitter, data: str, options: Mapping[str, Any]) -> bool:
    """Write files first, then print; False where one could not be written, and the print is all there is."""
    from emdsl.fit.tables import imputed_text
    from emdsl.report.plot import history_svg
    from emdsl.report.summary import print_fit
    from emdsl.runtime.fitting.sealing import sealed

    spec, whole = fitter.model.module.SPEC, True
    files: dict[str, Callable[[str], None]] = {
        "output": fitter.save,
        "plot": lambda path: put(path, history_svg(fitter.history_, f"{spec['model']}: objective by iteration")),
        "imputed": lambda path: put(path, imputed_text(fitter, path)),
    }
    for name, write in files.items():
        try:
            if options[name]:
                write(options[name])
        except EmdslError as error:
            whole = False
            click.echo(str(error), err=True)
    if options["as_json"]:
        click.echo(as_text(sealed(fitter.document())))
    else:
        print_fit(fitter, spec, data, sys.stdout)
    return whole


# ------------------------------------------------------------------ derive, compile, check, format


@commands.command()
@MODEL
@click.option("--format", "form", type=click.Choice(list(FORMATS)), default="text", show_default=True)
@click.option("--diff", metavar="OTHER.em", type=PATH, help="Which equations change from MODEL to OTHER.")
@INFER
@OUTPUT
@AS_JSON
def derive(model: str, form: str, diff: str | None, infer: Sequence[str], output: str | None, as_json: bool) -> None:
    """Print the derivation: posterior, statistics, updates, and why."""
    check_output(output, model, diff)
    form = "json" if as_json else form
    if diff is not None and form not in ("text", "json"):
        raise click.UsageError("--diff prints text, or JSON with --json")
    derivation: Any = compiled(model, infer).derivation
    if diff is not None:
        derivation = derivation.difference(compiled(diff, infer).derivation)
    put(output, FORMATS[form](derivation, output))


@commands.command("compile")
@MODEL
@INFER
@OUTPUT
def compile_(model: str, infer: Sequence[str], output: str | None) -> None:
    """Print the generated module, which runs without emdsl."""
    check_output(output, model)
    put(output, compiled(model, infer).source)


@commands.command()
@click.argument("models", metavar="MODEL.em...", nargs=-1, required=True, type=PATH)
@AS_JSON
def check(models: Sequence[str], as_json: bool) -> None:
    """Parse and type models; say what is wrong with them."""
    from emdsl.families import PRELUDE
    from emdsl.language import parse_model

    found, wrong = [], False
    for path in models:
        problems: Sequence[Problem] = ()
        source: str | None = None
        try:
            text = parse_model(model_text(path), path, PRELUDE())
            problems, source = text.warnings, text.source
        except EmdslError as error:
            problems, source, wrong = error.problems, error.source, True
        ok = not any(p.code[0] != "W" for p in problems)
        found.append({"file": path, "ok": ok, "problems": [problem_facts(p) for p in problems]})
        if not as_json:
            fine = harmless(f"{path}: ok", lines=False)
            click.echo("\n".join(p.render(source) for p in problems) or fine, err=bool(problems))
    if as_json:
        click.echo(as_text(found))
    if wrong:
        raise SystemExit(1)


@commands.command("format")
@MODEL
@click.option("--check", "only_check", is_flag=True, help="Change nothing; status 1 if the layout is not canonical.")
def format_(model: str, only_check: bool) -> None:
    """Lay out MODEL.em canonically, in place ("-" from standard input to standard output)."""
    from emdsl.language import format_text

    content = model_text(model)
    laid_out = format_text(content, model)
    before = content.decode("utf-8", "replace") if isinstance(content, bytes) else content
    if only_check:
        if laid_out != before:
            click.echo(f"{model}: not in canonical layout; run emdsl format {model}", err=True)
            raise SystemExit(1)
    elif model == "-" or laid_out != before:
        put(None if model == "-" else model, laid_out)


# ------------------------------------------------------------------ verify, sample, graph


@commands.command()
@MODEL
@INFER
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the data that are drawn.")
@OUTPUT
@AS_JSON
def verify(model: str, infer: Sequence[str], seed: int, output: str | None, as_json: bool) -> None:
    """Check the derivation by numbers, on data drawn from the model; status 1 where it fails."""
    check_output(output, model)
    certificate = compiled(model, infer).verify(seed=seed)
    put(output, as_text(certificate.to_dict()) if as_json else certificate.table(output is None))
    if not certificate.passed:
        raise SystemExit(1)


@commands.command()
@MODEL
@click.option("--params", "fit_path", type=PATH, required=True, metavar="FIT.json", help="Parameters: a saved fit.")
@SIZE
@SEED
@click.option("--data", "given_path", type=PATH, metavar="GIVENS.csv", help="Columns of the givens.")
@OUTPUT
def sample(
    model: str, fit_path: str, size: Sequence[str], seed: int | None, given_path: str | None, output: str | None
) -> None:
    """Draw synthetic data from MODEL.em at the parameters of a fit, as CSV (or JSON by the name of -o)."""
    from emdsl.fit.tables import draw_rows, size_names

    check_output(output, model, fit_path, given_path)
    if output and output.lower().endswith((".parquet", ".pq", ".npz", ".xlsx")):
        raise click.UsageError(f"-o {output}: draws are written as CSV, or as JSON where the name ends in .json")
    built, sizes = compiled(model), size_pairs(size)
    unknown = [n for n in sizes if n not in size_names(built)]
    if unknown:
        raise click.UsageError(f"--size: the model has no size {unknown[0]}")
    put(output, draw_rows(built, fit_path, sizes, seed, given_path, output or ""))


@commands.command()
@MODEL
@click.option("--format", "form", type=click.Choice(["svg", "dot"]), help="Of the picture; else by the name of -o.")
@OUTPUT
def graph(model: str, form: str | None, output: str | None) -> None:
    """Draw the plates and arrows of MODEL.em as SVG, or say them as DOT text."""
    from emdsl.families import PRELUDE
    from emdsl.graph.diagram import Diagram
    from emdsl.language import parse_model

    check_output(output, model)
    named = (output or "").lower().rpartition(".")[2]
    drawn = Diagram.of(parse_model(model_text(model), model, PRELUDE()))
    put(output, drawn.dot if (form or named) in ("dot", "gv") else drawn)


# ------------------------------------------------------------------ the boundary


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command: 0 done, 1 a wrong model or wrong data, 2 a wrong command line, 130 interrupted. Exits."""
    if sys.stdout is None:  # closed by who started this: a fit is saved all the same
        sys.stdout = open(os.devnull, "w", encoding="utf-8")
    gc.set_threshold(50_000, 20, 50)  # expressions are many and in no cycles, which took a fifth of the time to find
    stop_when_told()
    if (status := run(arguments)) == INTERRUPTED:
        end_at_once(status)
    raise SystemExit(status)


def run(arguments: Sequence[str] | None = None) -> int:
    """The exit status of a command; what went wrong is on standard error, in one block."""
    with harmless_errors():
        return _run(arguments)


def _run(arguments: Sequence[str] | None) -> int:
    output = sys.stdout
    try:
        if any("\0" in a for a in arguments or ()):
            raise click.UsageError("an argument holds a zero character")
        with warnings.catch_warnings():
            warnings.showwarning = lambda told, *_: click.echo(f"warning: {told}", err=True)
            status = commands.main(args=arguments and list(arguments), prog_name="emdsl", standalone_mode=False)
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code  # 2 of a wrong command line
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except SystemExit as stop:
        return status_of(stop, output)
    except BrokenPipeError:  # of the last flush
        leave_output()
        return 0
    except (EmdslError, InternalError, NotImplementedError) as error:
        click.echo(str(unanswered(error) if isinstance(error, NotImplementedError) else error), err=True)
        return 1
    except Exception as error:  # noqa: BLE001  (the last boundary: a traceback is a defect)
        return last_resort(error)
