"""Fits on disk: JSON or npz, whole or not at all, and never a pickle."""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from emdsl.runtime.data.arguments import place
from emdsl.runtime.data.columns import Array
from emdsl.runtime.data.faults import DataError
from emdsl.runtime.data.sizes import size_value
from emdsl.runtime.fitting.sealing import DIGEST, is_damaged, sealed
from emdsl.runtime.fitting.whole import write_whole

FIT_FORMAT = 1
PACKED = 100  # an npz may be so many times as large as its file, beside MEGABYTES that any fit may have
MEGABYTES = 1 << 26
MOST_BYTES = 1 << 30  # of a file that is held as a whole, and of what comes through a pipe
BLOCK = 1 << 20
MOST_OBJECTIVE = 10**300  # an objective, which JSON may hold as a whole number of any length
AGAIN = ("max_iter", "tol", "n_init", "on_degenerate")  # by which, and its seed, a loaded fit is fitted as before
STATES = ("converged", "max_iter", "boundary", "degenerate", "decreased", "interrupted")
NO_VALUE = type(None)
# what reading a file that was cut or altered raises, an array's shape beyond all memory among it
BROKEN = (
    ValueError,
    KeyError,
    TypeError,
    EOFError,
    OSError,
    NotImplementedError,
    MemoryError,
    OverflowError,
    RecursionError,
)
KEYS: dict[str, tuple[type, ...]] = {  # what every saved fit holds
    "format": (int,), "model": (str,), "model_hash": (str,), "params": (dict,), "sizes": (dict,),
    "objective": (float, int, NO_VALUE), "log_likelihood": (float, int, NO_VALUE), "history": (list,),
    "converged": (bool,), "status": (str,), "message": (str,), "n_iter": (int,), "n_parameters": (int,),
    "n_units": (float, int, NO_VALUE), "labels": (dict,), "plan": (dict,), "updates": (dict,), "seed": (int, NO_VALUE),
    "reference": (dict,), "factors": (dict,), "emdsl_version": (str, NO_VALUE),
}  # fmt: skip
MORE: dict[str, tuple[type, ...]] = {  # what some hold
    "quadrature_error": (float, int, NO_VALUE), "source": (str,), "infer": (dict,), "fixed": (list,),
    "completed": (list,), "many": (bool,), "multiplied": (str,), "points_times": (int,), "options": (dict,),
    "monte_carlo": (dict,), "digest": (str,),
}  # fmt: skip


def spec_hash(spec: Mapping[str, Any]) -> str:
    """A fingerprint of what a fit depends on: the model's variables, sizes and domains."""
    from hashlib import sha256  # in functions stands what takes longer to import than a module without it

    keys = ("name", "kind", "plates", "array", "event", "domain", "levels")
    shown = [[v.get(k) for k in keys] for v in spec["variables"]]
    return sha256(json.dumps([spec["model"], shown], sort_keys=True).encode()).hexdigest()[:16]


def write_document(path: str | os.PathLike[str], document: Mapping[str, Any]) -> None:
    """A fit as JSON, or as npz where the path ends so (arrays by name, the rest as JSON inside)."""
    path = place(path)
    if str(path).endswith(".npz"):
        params = {n: np.asarray(v, np.float64) for n, v in document["params"].items()}
        history = np.asarray(document["history"], np.float64)
        rest = sealed({**document, "params": params, "history": history})
        rest = {k: v for k, v in rest.items() if k not in ("params", "history")}
        arrays: dict[str, Any] = {f"params/{n}": v for n, v in params.items()}
        arrays["document"] = np.frombuffer(json.dumps(rest, allow_nan=False).encode(), np.uint8)
        arrays["history"] = history
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        write_whole(path, buffer.getvalue())
        return
    text = json.dumps(sealed(document), allow_nan=False, indent=1, ensure_ascii=False)
    write_whole(path, (text + "\n").encode())


def content_of(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a JSON or npz file. ValueError as soon as it shows to be neither, or too large to hold: a device
    has no end."""
    import codecs

    decoder, blocks = codecs.getincrementaldecoder("utf-8")(), []
    with open(path, "rb") as file:
        for block in blocks_of(file):
            blocks.append(block)
            if not blocks[0].startswith(b"PK") and "\0" in decoder.decode(block):
                raise ValueError("it holds a NUL byte")
    return b"".join(blocks)


def blocks_of(file: Any) -> Iterator[bytes]:
    """The bytes of an open file. ValueError once they are more than are held or laid aside: a pipe may have no end."""
    size = 0
    while block := file.read(BLOCK):
        size += len(block)
        if size > MOST_BYTES:
            raise ValueError(f"it is larger than {MOST_BYTES >> 20} MB")
        yield block


def by_unique_names(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; ValueError where a name stands twice in it, as the first would be lost."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [n for n, _ in pairs]
        raise ValueError(f"two entries are named {next(n for n in names if names.count(n) > 1)!r:.60}")
    return found


def why_no_json(error: Exception) -> str:
    """What was wrong with a JSON file, in words that are not Python's."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeError):
        return "it is not UTF-8"
    return "a number has thousands of digits" if "set_int_max_str_digits" in str(error) else str(error)


def read_document(path: str | os.PathLike[str] | Mapping[str, Any], held: bytes | None = None) -> dict[str, Any]:
    """A saved fit as a dict, its parameters as arrays; DataError with the reason where it is not one.

    `held` are the bytes of the file, where they have been read.
    """
    if isinstance(path, Mapping):
        document: Any = dict(path)
    else:
        file = place(path)
        try:
            content = content_of(file) if held is None else held
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror or error}", code="D030") from None
        except ValueError as error:
            hint = "pickles are not read: they can run code"
            raise DataError(f"{path}: is neither JSON nor npz: {why_no_json(error)}", hint, code="D020") from None
        document = _from_npz(path, content) if content[:2] == b"PK" else _from_json(path, content)
    shown = "the fit" if isinstance(path, Mapping) else str(path)
    fault = _no_fit(document)
    if fault:
        raise DataError(f"{shown}: {fault}", code="D020")
    if is_damaged(document):
        raise DataError(
            f"{shown}: is damaged: what it says is not what was saved",
            hint=f"take another copy; if it was altered on purpose, delete its entry {DIGEST!r}",
            code="D020",
        )
    document = {k: v for k, v in document.items() if k != DIGEST}
    document["params"] = {n: _array(shown, n, v) for n, v in document["params"].items()}
    if "monte_carlo" in document:
        document["monte_carlo"] = _told_by_draws(document["monte_carlo"])
    return dict(document)


def _no_fit(document: Any) -> str | None:
    """What keeps a document from being a saved fit: another format, what it lacks, what no fit has, wrong types."""
    held: Mapping[str, Any] = document if isinstance(document, dict) else {}
    version = held.get("format", FIT_FORMAT)
    if type(version) is not int or version != FIT_FORMAT:
        return f"has format {version!r}, and this version reads {FIT_FORMAT}"
    absent = [k for k in KEYS if k not in held]
    if absent:
        return f"is no saved fit: it lacks {', '.join(absent)}"
    unknown = [k for k in held if k not in KEYS and k not in MORE]
    if unknown:
        return f"is no saved fit: no fit holds {', '.join(map(repr, unknown))}"
    wrong = [k for k, kinds in {**KEYS, **MORE}.items() if k in held and not isinstance(held[k], kinds)]
    wrong = wrong or [k for k in held if not _holds(k, held[k])]
    return f"is no saved fit: its {wrong[0]} is {held[wrong[0]]!r:.40}" if wrong else None


def _holds(key: str, value: Any) -> bool:
    """Whether what is held under a key of a saved fit has the parts that it has in a fit."""
    match key:
        case "n_iter" | "n_parameters" | "seed" | "n_units":
            return value is None or (not isinstance(value, bool) and 0 <= value < math.inf)
        case "objective" | "log_likelihood" | "quadrature_error":
            return value is None or (not isinstance(value, bool) and abs(value) <= MOST_OBJECTIVE)
        case "status":
            return value in STATES
        case "message":
            return bool(value.isprintable())
        case "history":
            return bool(value) and all(v is None or type(v) in (int, float) for v in value)
        case "sizes":
            return all(_are_sizes(v) for v in value.values())
        case "monte_carlo":
            return all(_told(n, v) for n, v in value.items())
        case "options":
            return set(value) <= set(AGAIN)
        case "plan" | "updates" | "infer":
            return all(isinstance(v, str) for v in value.values())
        case "fixed" | "completed":
            return all(isinstance(v, str) for v in value)
        case "labels":
            return all(_distinct_texts(v) for v in value.values())
        case "reference":
            return all(numbers_of(v) is not None for v in value.values())
        case "factors":  # in which an expectation may be infinite, which JSON holds as null
            return all(numbers_of(v, gaps=True) is not None for v in value.values())
        case _:
            return True


def _are_sizes(value: Any) -> bool:
    """One whole number of 0 or more, or a list of them."""
    every = value if isinstance(value, list) else [value]
    return all(isinstance(v, (int, np.integer)) and not isinstance(v, bool) and v >= 0 for v in every)


def _distinct_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(v, str) for v in value) and len(set(value)) == len(value) > 0


def numbers_of(value: Any, gaps: bool = False) -> Array | None:
    """Numbers as float64, None for anything else: text, truth values, lists of uneven length, and nulls but for `gaps`
    (NaN then)."""
    try:
        found = np.asarray(value)
        number = found.dtype.kind in "fiu" or not found.size
        if gaps and found.dtype.kind == "O":
            number = all(v is None or type(v) in (int, float) for v in found.flat)
        return np.array(found, np.float64) if number else None
    except (ValueError, TypeError, OverflowError):
        return None


def _told(name: str, value: Any) -> bool:
    """Whether this is a part of what a fit by draws tells: a count, names, numbers by name."""
    if name == "ended":
        return isinstance(value, list) and all(isinstance(v, str) for v in value)
    if not isinstance(value, Mapping):
        return name == "draws" and type(value) is int
    return all(numbers_of(v, gaps=True) is not None for v in value.values())


def _told_by_draws(held: Mapping[str, Any]) -> dict[str, Any]:
    """What a fit by draws tells of itself, read again: errors as arrays, the rest as numbers."""
    arrays = ("standard_errors", "monte_carlo_errors")
    return {
        k: {
            n: np.array(numbers_of(v, gaps=True)) if k in arrays else np.nan if v is None else v
            for n, v in part.items()
        }
        if isinstance(part, Mapping)
        else part
        for k, part in held.items()
    }


def _array(shown: str, name: str, value: Any) -> Array:
    found = numbers_of(value)
    if found is None:
        raise DataError(f"{shown}: the parameter {name} is no array of numbers", code="D020")
    return found


def _from_json(path: object, content: bytes) -> Any:
    try:
        return _json(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is no whole JSON file: {why_no_json(error)}", code="D020") from None


def _json(content: bytes) -> Any:
    return json.loads(content.decode("utf-8"), parse_constant=_no_number, object_pairs_hook=by_unique_names)


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON's")


def _from_npz(path: object, content: bytes) -> Any:
    import zipfile
    import zlib
    from tokenize import TokenError

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MEGABYTES + PACKED * len(content):
            raise ValueError(f"its {len(content)} bytes would become {size}")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            document = _json(bytes(arrays["document"]))
            held = {"history": arrays["history"].tolist()}
            held["params"] = {n.removeprefix("params/"): arrays[n] for n in arrays.files if n.startswith("params/")}
            return {**document, **held} if isinstance(document, dict) else document
    except BROKEN as error:
        raise DataError(f"{path}: is no whole saved fit: {why_no_json(error)}", code="D020") from None
    except (zipfile.BadZipFile, zlib.error, TokenError, RuntimeError) as error:  # the last of what is locked
        why = str(error) if isinstance(error, RuntimeError) else "the archive is damaged"
        raise DataError(f"{path}: is no whole saved fit: {why}", code="D020") from None


def check_same_model(document: Mapping[str, Any], spec: Mapping[str, Any], factorised: bool) -> None:
    """DataError where a saved fit belongs to another model, or lacks a parameter of this one, or has other constants.

    `factorised` says that the E-step has a state of its own (factors of q, draws), which is saved.
    """
    if document["model"] != spec["model"]:
        raise DataError(f"the fit is of model {document['model']}, not of {spec['model']}", code="D020")
    if document["model_hash"] != spec_hash(spec):
        raise other_version(spec["model"], "its variables")
    absent = [v["name"] for v in spec["variables"] if v["kind"] == "param" and v["name"] not in document["params"]]
    if absent:
        raise DataError(f"the fit lacks the parameters {', '.join(absent)}", code="D020")
    if lists := [n for n in spec["sizes"] if isinstance(document["sizes"].get(n), list)]:
        raise DataError(f"the fit's size {lists[0]} is no number", code="D020")
    if document["factors"] and not factorised:
        raise DataError("the fit holds factors of q, of which this model has none", code="D020")
    _check_reference(document, spec)


def other_version(model: str, what: str) -> DataError:
    """The fault of a fit whose model has the same name."""
    return DataError(f"the fit is of another version of {model}: {what} differ", hint="fit it again", code="D020")


class Points(dict[str, Any]):
    """Reference points by name; DataError for one that is asked for and is not there: a saved fit has lost it."""

    def __missing__(self, name: str) -> Any:
        raise DataError(f"the fit has no reference point of {name}: it is not whole", code="D020")


def points(saved: Mapping[str, Any]) -> Points | None:
    """Those of a saved fit, as arrays; None where it has none."""
    return Points((n, np.asarray(v, np.float64)) for n, v in saved.items()) or None


def _check_reference(document: Mapping[str, Any], spec: Mapping[str, Any]) -> None:
    """DataError where reference points are no numbers of the shapes that the model's variables have.

    That of a design has a row for each of its columns: what each is measured from, in multiples of the others.
    """
    variables = {v["name"]: v for v in spec["variables"]}
    for name, value in document["reference"].items():
        shape, variable = np.shape(value), variables.get(name)
        if variable is None:
            wanted: tuple[int, ...] = shape
        elif variable["kind"] == "param":
            wanted = np.shape(document["params"][name])[-len(shape) :] if shape else ()
        else:
            sizes = {n: v for n, v in document["sizes"].items() if np.ndim(v) == 0}
            wanted = tuple(size_value(axis, sizes) for axis in (*variable["array"], *variable["event"]))
            wanted = (*wanted, *wanted[-1:]) if name in spec.get("designs", ()) else wanted
        if shape != wanted or not np.isfinite(np.asarray(value, np.float64)).all():
            raise DataError(f"the fit's reference point of {name} is none of this model's", code="D020")
