"""Options and sizes of an estimator, as scikit-learn expects them: stored as given, checked when used."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from emdsl.runtime.data.arguments import MOST_COUNTED, by_name, seed_number, whole_number
from emdsl.runtime.data.columns import Array
from emdsl.runtime.data.domains import Ends, check_parameter, with_ends
from emdsl.runtime.data.faults import DataError, closest
from emdsl.runtime.data.sizes import Equation, SizeValue, parse_size, settle_sizes, size_value
from emdsl.runtime.fitting.storage import AGAIN, read_document

OPTIONS: dict[str, Any] = {
    "sizes": None,
    "max_iter": 500,
    "tol": 1e-6,
    "n_init": 1,
    "seed": None,
    "init": None,
    "fixed": None,
    "progress": None,
    "on_degenerate": "raise",
}
RESTORED = (
    *("objective", "log_likelihood", "quadrature_error", "converged", "status", "message", "n_iter", "n_parameters"),
    *("n_units", "monte_carlo"),
)
POLICIES = ("raise", "keep", "restart", "regularise")


class Seed(NamedTuple):
    """A numpy SeedSequence as the two numbers that make it, and made where something is drawn: half of one is wasted
    on a fit whose start is given."""

    entropy: int
    key: tuple[int, ...] = ()

    def spawn(self, count: int) -> list[Seed]:
        """As `SeedSequence.spawn`."""
        return [Seed(self.entropy, (*self.key, i)) for i in range(count)]

    def generator(self) -> np.random.Generator:
        """The generator of this seed, at its beginning."""
        return np.random.default_rng(np.random.SeedSequence(self.entropy, spawn_key=self.key))


def fresh_entropy() -> int:
    """What numpy seeds with where no seed is given: 128 bits of the system's."""
    return int.from_bytes(os.urandom(16), "big")


class NotFitted(ValueError, AttributeError):
    """The estimator has no parameters yet: call `fit` first."""


class Settings:
    """The options of an estimator; `_module` is the generated module that it drives."""

    _module: Any = None
    hurried = False  # whether a fit is one of many: what its points miss waits until it is asked for

    def __init__(self, **options: Any) -> None:
        self._options = dict(OPTIONS)
        self._named_sizes: dict[str, Any] = {}
        self.set_params(**options)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The options, and the sizes that were given by name or have a default."""
        sizes = {n: None for n, d in self._module.SPEC["sizes"].items() if d is not None and n not in OPTIONS}
        return {**sizes, **self._named_sizes, **self._options}

    def set_params(self, **options: Any) -> Self:
        """Change options or sizes; TypeError for a name that is neither, with the nearest one."""
        for name, value in options.items():
            if name in OPTIONS:
                self._options[name] = value
            elif name in self._module.SPEC["sizes"]:
                self._named_sizes[name] = value
            else:
                hint = closest(name, [*OPTIONS, *self._module.SPEC["sizes"]])
                raise TypeError(f"{type(self).__name__} has no option or size {name}; {hint}")
        return self

    def _again(self) -> dict[str, Any]:
        """The options by which a loaded fit is fitted as before."""
        return {n: self._options[n] for n in AGAIN}

    def _as_before(self, saved: Mapping[str, Any]) -> None:
        """Those of a saved fit, where no others were asked for here, and what it says of itself. DataError for one out
        of its range."""
        before = {**saved.get("options", {}), "seed": saved["seed"]}
        options = {n: before.get(n, v) if v == OPTIONS[n] else v for n, v in self._options.items()}
        check_options(options)
        self._options = options
        for name in RESTORED:
            setattr(self, f"{name}_", saved.get(name))

    def __getattr__(self, name: str) -> Any:
        if name in OPTIONS:
            return self.__dict__.get("_options", OPTIONS)[name]
        if name == "quadrature_error_" and "_error" in self.__dict__:
            self.quadrature_error_ = self.__dict__.pop("_error")()
            return self.quadrature_error_
        if name.endswith("_") and not name.startswith("_"):
            raise NotFitted(f"{type(self).__name__} has no {name} yet: call fit first")
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __repr__(self) -> str:
        shown = {n: v for n, v in self.get_params().items() if v is not None and not (n in OPTIONS and v is OPTIONS[n])}
        return f"{type(self).__name__}({', '.join(f'{n}={v!r}' for n, v in shown.items())})"

    def __sklearn_tags__(self) -> Any:
        utils = sys.modules["sklearn.utils"]  # scikit-learn asks, so it is loaded; nothing is imported here
        target, data = utils.TargetTags(required=False), utils.InputTags(allow_nan=True)
        return utils.Tags(estimator_type=None, target_tags=target, input_tags=data)

    def passed_sizes(self) -> dict[str, int]:
        """The sizes that the user passed, by name or in `sizes`; DataError where one is no positive whole number."""
        known, out = self._module.SPEC["sizes"], {}
        asked = by_name({} if self._options["sizes"] is None else self._options["sizes"], "sizes", "whole numbers")
        for name, value in {**asked, **self._named_sizes}.items():
            if name not in known:
                raise DataError(f"the model has no size {name}", hint=closest(name, known), code="D002")
            if value is None:
                continue
            whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
            if not whole or not 1 <= value <= MOST_COUNTED:
                shown = repr(value) if not whole or value < 1 else "a number so large"
                raise DataError(f"the size {name} must be a positive whole number, not {shown}", code="D012")
            out[name] = int(value)
        return out


def check_options(o: Mapping[str, Any]) -> None:
    """DataError for an option out of its range."""
    whole_number(o["max_iter"], "max_iter", 0)
    whole_number(o["n_init"], "n_init", 1)
    seed_number(o["seed"])
    tol = float(o["tol"]) if isinstance(o["tol"], np.floating) else o["tol"]
    number = isinstance(tol, (int, float, np.integer, np.floating)) and not isinstance(tol, bool)
    if not number or not 0 <= tol <= sys.float_info.max:
        raise DataError(f"tol must be a finite number, 0 or more, not {type(tol).__name__} {tol!r:.40}", code="D016")
    if not isinstance(o["on_degenerate"], str) or o["on_degenerate"] not in POLICIES:
        raise DataError(f"on_degenerate must be one of {', '.join(POLICIES)}, not {o['on_degenerate']!r}", code="D016")
    progress = o["progress"]
    if not (progress is None or isinstance(progress, bool) or callable(progress)):
        text = "progress must be True, or a function of the iteration and the objective, not"
        raise DataError(f"{text} {type(progress).__name__}", code="D016")


def variable_axes(variable: Mapping[str, Any]) -> list[str]:
    """The size expressions of all axes of a variable: plates, array, element."""
    return [*(p[1] for p in variable["plates"]), *variable["array"], *variable["event"]]


def tied_sizes(spec: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, int]:
    """The sizes that shapes of parameters hold, so that new data must agree with them."""
    axes = [d for v in spec["variables"] if v["kind"] == "param" for d in variable_axes(v)]
    return {n: sizes[n] for d in axes for names in parse_size(d) for n in names if n in sizes}


def kept_labels(
    spec: Mapping[str, Any], labels: Mapping[str, list[str]], tied: Mapping[str, int]
) -> dict[str, list[str]]:
    """The codings of a fit that new data are read by: of sizes that are numbers or `tied`, and variables' own."""
    own = {v["name"] for v in spec["variables"]}
    return {
        size: text for size, text in labels.items()
        if size in own or all(n in tied for names in parse_size(size) for n in names)
    }  # fmt: skip


def learned_sizes(spec: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, int]:
    """The sizes that shapes of latents of the population hold, whose factors a fit has learned: as `tied_sizes`."""
    variables = spec["variables"]
    seen = {p[1] for v in variables if v["kind"] == "observed" for p in v["plates"]}
    latents = [v for v in variables if v["kind"] == "latent" and not seen & {p[1] for p in v["plates"]}]
    return {
        n: sizes[n] for v in latents for d in variable_axes(v) for names in parse_size(d) for n in names if n in sizes
    }


def sizes_of_parameters(spec: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, int]:
    """The sizes that given parameter values show; DataError where they disagree or one is absent."""
    found: dict[str, SizeValue] = {}
    equations = []
    for variable in (v for v in spec["variables"] if v["kind"] == "param"):
        name, axes = variable["name"], variable_axes(variable)
        if name not in params:
            raise DataError(f"params lack {name}", code="D002")
        shape = np.shape(params[name])
        if len(shape) != len(axes):
            raise DataError(
                f"{name}: its value has shape {shape}, but is declared with shape ({', '.join(axes)})", code="D003"
            )
        equations += [
            Equation(axis, str(n), f"axis {i} of {name}") for i, (axis, n) in enumerate(zip(axes, shape, strict=True))
        ]
    settle_sizes(found, equations)
    return {n: f.value for n, f in found.items()}


FEW_ROWS = 1000  # of an E-step, which goes through them by chunks


def check_room(spec: Mapping[str, Any], sizes: Mapping[str, int]) -> None:
    """DataError where parameters and a few rows need more memory than the machine has, before any is asked for."""
    shapes = {
        v["name"]: [size_value(d, sizes) for d in variable_axes(v)] for v in spec["variables"] if v["kind"] == "param"
    }
    for v in spec["variables"]:  # a row of an E-step holds the probabilities of all its states
        if v["kind"] == "latent" and v["domain"] == "category" and v["levels"] in sizes:
            rows = [sizes.get(size, 1) for _, size, *_ in v["plates"]]
            shapes[f"the posterior of {v['name']}"] = [min(math.prod(rows), FEW_ROWS), sizes[v["levels"]]]
    need = 8 * sum(math.prod(shape) for shape in shapes.values())
    if need < 2**20:
        return
    try:
        room = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        room = 2**36
    if need > room / 4:  # values, statistics, one step's old and new ones
        largest = max(shapes, key=lambda n: math.prod(shapes[n]))
        raise DataError(
            f"the parameters need {need / 1e9:.3g} GB, and a step four times as much: {largest} has shape "
            f"{tuple(shapes[largest])}",
            hint="pass smaller sizes",
            code="D043",
        )


def starting_values(
    spec: Mapping[str, Any], init: Any, sizes: Mapping[str, int], held: Mapping[str, Any], ends: Mapping[str, Ends] = {}
) -> tuple[dict[str, Array], dict[str, Any]]:
    """Starting parameters by name, checked, apart from starting factors of latents.

    `init` is a dict by name, a fitted estimator, or the path or content of a saved fit; `held` are
    parameters that are fixed, which it may name too; `ends` the bounds that givens set.
    """
    if init is None:
        return {}, {}
    if isinstance(init, (str, Path)) or (isinstance(init, Mapping) and {"format", "params"} <= set(init)):
        init = read_document(init)["params"]
    if not isinstance(init, Mapping):
        if "params_" not in getattr(init, "__dict__", {}):
            raise DataError(f"init must be a dict of arrays by name, not {type(init).__name__}", code="D016")
        init = init.params_
    variables = {v["name"]: v for v in spec["variables"] if v["kind"] in ("param", "latent")}
    params: dict[str, Array] = {}
    factors: dict[str, Any] = {}
    seen = {v["name"] for v in spec["variables"] if v["kind"] == "observed"}
    for name, value in init.items():
        if name in held or name in seen:  # what is missing of data, as `posterior_` has it, follows from all else
            continue
        if name not in variables:
            raise DataError(f"init: the model has no parameter {name}", hint=closest(name, variables), code="D002")
        if variables[name]["kind"] == "latent":
            factors[name] = value
        else:
            shape = tuple(size_value(d, sizes) for d in variable_axes(variables[name]))
            params[name] = check_parameter(with_ends(variables[name], ends), value, shape)
    return params, factors
