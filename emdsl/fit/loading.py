"""A generated module made live. Its text is the printer's alone: users' names pass through one table of identifiers."""

from __future__ import annotations
import __future__

import builtins
import re
import sys
import types
from collections.abc import Sequence
from functools import lru_cache
from typing import Any


def loaded(name: str, parts: Sequence[str]) -> types.ModuleType:
    """The module of a model of this name, from the parts of its text; each time another, whose names are its own."""
    from emdsl.runtime.numeric import compiled, loops

    made = types.ModuleType("emdsl_generated")
    made.__name__ = f"emdsl_generated_{re.sub(r'[^0-9A-Za-z]+', '_', name)}_{id(made):x}"
    made.__dict__["__file__"] = f"<generated from {name}>"
    sys.modules[made.__name__] = made
    for part in parts:
        exec(code_of(part), made.__dict__)  # noqa: S102  (the printer's own text)
    # loops for numba are emdsl's own, with a file beside which what is compiled is kept, once for all models
    own: dict[str, Any] = {name: f for name, f in vars(loops).items() if isinstance(f, types.FunctionType)}
    own |= {"compiled": compiled.compiled}
    made.__dict__.update({name: f for name, f in own.items() if name in made.__dict__})
    return made


@lru_cache(maxsize=1024)
def code_of(part: str) -> types.CodeType:
    """A part of a module, compiled; helpers and runtime are the same in many models."""
    flags = __future__.annotations.compiler_flag  # what heads the whole module
    code: types.CodeType = builtins.compile(part, "<generated module>", "exec", flags=flags, dont_inherit=True)
    return code
