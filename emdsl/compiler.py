"""The passes in order: the table of contents of the whole.

text --parse--> ModelText --derive--> Plan --print--> module text --load--> Model
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from emdsl.errors import ArgumentError, EmdslError, ModelError, ModelWarning, Problem

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
    Raises ModelError with every mistake found, each with its place; ArgumentError (a TypeError) unless
    exactly one of `path` and `text` is given. A `ModelWarning` tells of names that nothing uses (`Model.warnings`).
    """
    from emdsl.fit.model import Model

    if (path is None) == (text is None):
        raise _wrong("compile takes a path or text=..., one of the two")
    if path is not None and not isinstance(path, str | PathLike):
        raise _wrong(f"the path must be a str or a Path, not {type(path).__name__}; text=... takes a model's text")
    if infer is not None and not isinstance(infer, Mapping):
        raise _wrong(f'infer must be a dict, as in {{"z": "meanfield"}}, not {type(infer).__name__}')
    source, name = (read_model(Path(path)), str(path)) if path is not None else (text, "<text>")
    if not isinstance(source, str | bytes):
        raise _wrong(f"text must be a str, not {type(source).__name__}")
    model = Model.from_text(source, name, infer)
    if model.warnings:
        told = "\n".join(w.render(model.resolved.source) for w in model.warnings)
        warnings.warn(told, ModelWarning, stacklevel=2)
    return model


def _wrong(message: str) -> ArgumentError:
    return ArgumentError(Problem("D016", message))


def read_model(path: Path) -> bytes:
    """The bytes of a model file, no more of them than a model may have. Raises ModelError."""
    from emdsl.language.reading import ENOUGH

    try:
        with path.open("rb") as file:
            return file.read(ENOUGH)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        first, *rest = str(path).splitlines() or [""]
        hint = "the text of a model is compiled by `compile(text=...)`" if rest else None
        raise ModelError(Problem("D030", f"{first}: cannot be read: {why}", hint=hint)) from None


__all__ = ["EmdslError", "compile"]
