"""Where a command's output goes: checked before the work, written whole or not at all; and what ends a command."""

from __future__ import annotations

import contextlib
import csv
import errno
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn, TextIO, cast

import click

from emdsl.errors import COMMANDS, DataError, Problem, harmless

UNWRITABLE = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO, errno.EBADF}


def check_output(path: str | None, *read: str | None) -> None:
    """Refuse an output path that cannot be written, or that a command reads, before any work is done."""
    if path is None or path == "-" or (os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)):
        return
    reason = None
    try:
        folder = Path(path).resolve().parent
        if not path:
            reason = "its name is empty"
        elif path.endswith(os.sep):
            reason = f"it is no file, as its name ends in {os.sep}"
        elif any(f and os.path.isfile(f) and os.path.exists(path) and os.path.samefile(path, f) for f in read):
            reason = "it is what is read"
        elif Path(path).is_dir():
            reason = "it is a directory"
        elif not folder.is_dir():
            reason = f"there is no directory {folder}"
        elif not os.access(folder, os.W_OK):
            reason = f"the directory {folder} is not writable"
        elif os.path.exists(path) and not os.access(path, os.W_OK):
            reason = "it is write-protected"
    except (OSError, ValueError, RuntimeError) as error:  # a name too long, or of no file, a link to itself
        reason = getattr(error, "strerror", None) or str(error)
    if reason:
        raise DataError(Problem("D040", f"{path}: cannot be written: {reason}"))


def check_files(paths: Mapping[str, str | None], *read: str | None) -> None:
    """`check_output` for what a command writes beside what it prints; UsageError where two options name one file."""
    named = {option: path for option, path in paths.items() if path is not None}
    if "-" in named.values():
        raise click.UsageError(f"{', '.join(named)}: name a file; a table is printed, or with --json the fit")
    for path in named.values():
        check_output(path, *read)
    places = [os.path.realpath(p) for p in named.values() if os.path.isfile(p) or not os.path.exists(p)]
    if len(set(places)) < len(places):
        raise click.UsageError(f"{', '.join(named)}: two name the same file")


def cells_of(text: str) -> list[str]:
    """A row of CSV as its cells."""
    try:
        return next(csv.reader([text], skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise click.UsageError(f"{text!r:.60} cannot be split at its commas: {error}") from None


def put(path: str | None, content: str) -> None:
    """Write to a file, whole or not at all, or to standard output."""
    from emdsl.runtime.data import faults
    from emdsl.runtime.fitting.whole import write_whole

    if path is None or path == "-":
        shown = harmless(content) if sys.stdout.isatty() else content
        sys.stdout.write(shown if shown.endswith("\n") else shown + "\n")
        return
    try:
        write_whole(path, content.encode())
    except faults.DataError as error:
        raise DataError(Problem(error.code, error.message)) from None


def page_columns(path: str | None) -> int:
    """How wide text is: as the terminal, where it goes to one (or as COLUMNS says), from 60 on."""
    from emdsl.report.page import COLUMNS

    wide = shutil.get_terminal_size((COLUMNS, 24)).columns if path in (None, "-") else COLUMNS
    return min(max(wide, 60), COLUMNS)


def as_text(document: Any) -> str:
    """JSON that any program reads: NaN and infinities as null, what a terminal would obey spelled out."""
    from emdsl.runtime.fitting.sealing import plain_value

    text = json.dumps(plain_value(document), allow_nan=False, ensure_ascii=False, indent=1)
    return COMMANDS.sub(lambda c: f"\\u{ord(c[0]):04x}", text)


class Harmless:
    """A stream that is handed text for people: names in it may come from any file. Nobody need read it (`2>&1 | true`):
    a command goes on to the status that it ends with."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(BrokenPipeError):
            self.stream.write(harmless(text))
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextlib.contextmanager
def harmless_errors() -> Iterator[None]:
    """Standard error shows what it is told, whatever is in it."""
    before = sys.stderr
    if before is not None:
        sys.stderr = cast(TextIO, Harmless(before))
    try:
        yield
    finally:
        sys.stderr = before


def problem_facts(problem: Problem) -> dict[str, Any]:
    """A problem for programs; columns count from 1, the end is exclusive."""
    s = problem.span
    place = {"line": s.line, "column": s.column, "end_line": s.end_line, "end_column": s.end_column}
    return {"code": problem.code, "message": problem.message, "hint": problem.hint, "file": s.file, **place}


def stop_when_told() -> None:
    """SIGTERM, and a terminal that is closed, are Ctrl-C: a fit that is told to end keeps its best.

    One that Python lost comes again, a moment later. What is ignored (`nohup`) stays so.
    """

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    def again(lost: sys.UnraisableHookArgs) -> None:  # while an object is cleared away Ctrl-C is ignored
        if lost.exc_type is KeyboardInterrupt and hasattr(signal, "setitimer"):
            signal.signal(signal.SIGALRM, stop)
            signal.setitimer(signal.ITIMER_REAL, 0.02)
        else:
            sys.__unraisablehook__(lost)

    sys.unraisablehook = again
    for name in ("SIGTERM", "SIGHUP"):
        told = getattr(signal, name, None)
        if told is not None and signal.getsignal(told) is not signal.SIG_IGN:
            signal.signal(told, stop)


def end_at_once(status: int) -> NoReturn:
    """If Ctrl-C came in an `exec`, Python would end by the signal, whatever it is told."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(status)


def leave_output() -> None:
    """What is still to be flushed to standard output goes nowhere, as nobody takes it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def status_of(stop: SystemExit, output: TextIO) -> int:
    """What a command ends with that has ended itself. Where nobody reads on (`| head -1`) it is done; click, which then
    wraps standard output, and rich have it fail without a word."""
    if sys.stdout is not output or isinstance(stop.__context__, BrokenPipeError):
        leave_output()
        return 0
    return stop.code if isinstance(stop.code, int) else 1


def last_resort(error: Exception) -> int:
    """Lack of memory, or a bug of ours: one block, no traceback unless EMDSL_DEBUG is set."""
    if isinstance(error, MemoryError):
        told = "error D043: there is not enough memory for this model and data"
    elif isinstance(error, OSError) and error.errno in UNWRITABLE and error.filename is None:
        leave_output()
        told = f"error D040: standard output: cannot be written: {error.strerror}"
    elif isinstance(error, UnicodeEncodeError):
        told = f"error D040: standard output: {error.encoding} has no {error.object[error.start]!a}: use -o"
    elif os.environ.get("EMDSL_DEBUG"):
        raise error
    else:
        told = f"internal error ({type(error).__name__}): {error}\nPlease report this with the model that caused it."
    click.echo(told, err=True)
    return 1
