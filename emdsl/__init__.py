"""emdsl: write a probabilistic model, get its EM algorithm derived, printed and run.

    import emdsl

    model = emdsl.compile("models/old_faithful.em")
    fit = model.fitter(seed=0).fit({"x": x})

Names are imported when first used, so that `import emdsl` costs next to nothing: sympy and lark
are loaded when something is compiled.
"""

from importlib import import_module

TYPE_CHECKING = False  # for type checkers, which take it as true: the module that has it takes longer than this one
if TYPE_CHECKING:
    from emdsl.compiler import compile
    from emdsl.errors import DataError, EmdslError, ModelError
    from emdsl.fit.model import Model, load

__all__ = ["DataError", "EmdslError", "Model", "ModelError", "ModelWarning", "__version__", "compile", "load"]
__version__ = "0.1.0"

_HOME = {
    "compile": "emdsl.compiler",
    "Model": "emdsl.fit.model",
    "load": "emdsl.fit.model",
    "EmdslError": "emdsl.errors",
    "ModelError": "emdsl.errors",
    "DataError": "emdsl.errors",
    "ModelWarning": "emdsl.errors",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'emdsl' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
