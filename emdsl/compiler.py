"""The passes in order: the table of contents of the whole.

text --parse--> ModelText --derive--> Plan --print--> module text --load--> Model
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from emdsl.errors import EmdslError, ModelError, Problem, Span

if TYPE_CHECKING:
    from emdsl.fit.model import Model


def compile(
    path: str | Path | None = None,
    *,
    text: str | None = None,
    infer: Mapping[str, str] | None = None,
) -> Model:
    """A model compiled from a `.em` file, or from its text.

    infer : latent name (or group, `"(mean, prec)"`) -> method; replaces the file's `infer` lines for these.
    Raises ModelError with every mistake found, each with its place; TypeError unless exactly one of
    `path` and `text` is given.
    """
    from emdsl.fit.model import Model

    if (path is None) == (text is None):
        raise TypeError("compile takes a path or text=..., one of the two")
    source, name = (_read(Path(path)), str(path)) if path is not None else (text, "<text>")
    assert source is not None
    return Model.from_text(source, name, infer)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        where = Span(str(path), 1, 1, 1, 1)
        why = error.strerror or type(error).__name__
        raise ModelError(Problem("E000", f"cannot read {path}: {why}", where)) from None


__all__ = ["EmdslError", "compile"]
