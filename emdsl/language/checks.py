from __future__ import annotations
from emdsl.errors import Problem
from emdsl.language.model import ModelText
from emdsl.language.scope import Scope


def final_problems(model: ModelText, scope: Scope) -> list[Problem]:
    return []


def warnings(model: ModelText, scope: Scope) -> tuple[Problem, ...]:
    return ()
