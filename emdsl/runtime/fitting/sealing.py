"""What a saved fit holds, as JSON can hold it, and the digest by which damage to it shows."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

DIGEST = "digest"


def plain_value(value: Any) -> Any:
    """Arrays and numpy scalars as lists and numbers; NaN and infinities as None, which JSON can hold."""
    if isinstance(value, np.ndarray):
        return plain_value(value.tolist())
    if isinstance(value, np.generic):
        return plain_value(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): plain_value(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_value(v) for v in value]
    return value


def digest_of(document: Mapping[str, Any]) -> str:
    """The first 64 bits of SHA-256 over what a document says, its digest apart: neither layout nor order count."""
    from hashlib import sha256

    said = {k: v for k, v in plain_value(document).items() if k != DIGEST}
    return sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


def sealed(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document as JSON can hold it, with its digest behind its format."""
    plain = plain_value({k: v for k, v in document.items() if k != DIGEST})
    return {
        "format": plain.pop("format", None),
        DIGEST: digest_of({"format": document.get("format"), **plain}),
        **plain,
    }


def is_damaged(document: Mapping[str, Any]) -> bool:
    """Whether a document has a digest, and says something else than when it was sealed."""
    try:
        return DIGEST in document and document[DIGEST] != digest_of(document)
    except (RecursionError, TypeError, ValueError):  # what no JSON of ours holds
        return True
