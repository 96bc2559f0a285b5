"""Text to the typed model.

The names below are imported when first used: `lark` is not loaded before something is parsed.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emdsl.language.formatter import format_text
    from emdsl.language.resolve import parse_families, parse_model

__all__ = ["format_text", "parse_families", "parse_model"]

_HOME = {
    "format_text": "emdsl.language.formatter",
    "parse_families": "emdsl.language.resolve",
    "parse_model": "emdsl.language.resolve",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'emdsl.language' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
