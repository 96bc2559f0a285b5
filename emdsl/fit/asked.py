"""Arguments of a model's methods, checked before they are used; faults of the runtime as errors of emdsl."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from emdsl.errors import DataError, ModelError, Problem, nearest
from emdsl.fit.interpret import ragged_axes
from emdsl.fit.ragged import arrays_of, flat_rows
from emdsl.fit.sizes import complete_sizes
from emdsl.language.constants import farthest, longest
from emdsl.language.model import ModelText
from emdsl.runtime.data import faults
from emdsl.runtime.data.arguments import by_name, place, seed_number, whole_number
from emdsl.runtime.data.domains import parameter_numbers

MOST = 2**40  # elements that are asked for: more would be no array


@contextmanager
def told() -> Iterator[None]:
    """Raises what the runtime finds wrong as `emdsl.DataError`."""
    try:
        yield
    except faults.DataError as error:
        raise DataError(Problem(error.code, error.message, hint=error.hint)) from None
    except MemoryError as error:
        text = f"more memory is needed than there is: {error}" if str(error) else "more memory is needed than there is"
        raise DataError(Problem("D043", text, hint="pass smaller sizes")) from None


@contextmanager
def within_reach(model: ModelText) -> Iterator[None]:
    """Raises what is too deep, too large or too small for the algebra as an error of the model, at what is most so."""
    try:
        yield
    except RecursionError:
        hint = "what repeats belongs in a plate, what nests in a family"
        told = Problem("E010", "the model's expressions nest too deeply", longest(model), hint)
        raise ModelError(told, model.source) from None
    except ArithmeticError:
        message = "numbers of the model are out of range where they meet: this one is the farthest from 1"
        told = Problem("E007", message, farthest(model), "write it in other units")
        raise ModelError(told, model.source) from None


def names_of(names: Any, known: Collection[str], what: str) -> tuple[str, ...]:
    """Names that the model has, as they are; DataError for anything else, with the nearest one."""
    if isinstance(names, str) or not np.iterable(names):
        shown = repr(names) if isinstance(names, str) else type(names).__name__
        raise DataError(Problem("D016", f"names of {what} stand in a tuple, not in {shown}", hint='as in `("x",)`'))
    out = tuple(names)
    for name in out:
        if not isinstance(name, str) or name not in known:
            guess = nearest(str(name), list(known))
            hint = f"did you mean {guess}?" if guess else f"known are {', '.join(known)}" if known else None
            raise DataError(Problem("D002", f"the model has no {what} {name}", hint=hint))
    return out


def of_a_sample(params: Any, sizes: Any, seed: Any, data: Any) -> tuple[Any, dict[str, Any], Any, Any]:
    """The arguments of `sample`: params and data by name or None, sizes by name, a seed or a generator."""
    with told():
        for value, what in ((params, "params"), (data, "data")):
            if value is not None:
                by_name(value, what)
        found = dict(by_name({} if sizes is None else sizes, "sizes", "whole numbers"))
        for name, value in found.items():
            if not parameter_numbers(f"the size {name}", value).ndim:
                whole_number(value, f"the size {name}", 0, MOST)
        seed = seed if isinstance(seed, np.random.Generator) else seed_number(seed)
    return params, found, seed, data


def of_a_log_joint(
    model: ModelText, values: Any, sizes: Any, lengths: Any
) -> tuple[Mapping[str, Any], Mapping[str, Any], Any]:
    """The arguments of `log_joint`, each by name; all that it reads is there, and sizes agree with it."""
    with told():
        by_name(values, "values")
        by_name(sizes, "sizes", "whole numbers")
        if lengths is not None:
            by_name(lengths, "lengths")
    lost = [v for v in model.variables if v.name not in values and v.default is None]
    if lost:
        raise DataError([Problem("D051", f"`{v.name}` has no value", v.span, "give it in `values`") for v in lost])
    flat, found = flat_rows(model, values)
    names = {v.name for v in model.variables}
    flat |= arrays_of(model, {n: v for n, v in flat.items() if n in names})
    ragged = set(found) & set(ragged_axes(model))
    sizes = {**{n: k for n, k in found.items() if n not in ragged}, **sizes}
    lengths = {**{n: found[n] for n in ragged}, **(lengths or {})}
    return flat, complete_sizes(model, flat, sizes), lengths


__all__ = ["names_of", "of_a_log_joint", "of_a_sample", "place", "told"]
