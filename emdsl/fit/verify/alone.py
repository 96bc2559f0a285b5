"""The printed module by itself: what it imports, and that it fits as the package does, in chunks of any length."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from emdsl.errors import EmdslError
from emdsl.fit.verify.apart import fitted_apart
from emdsl.fit.verify.case import MANY, Case, fitted, goes_on
from emdsl.fit.verify.certificate import Check, far, largest, measured, skipped
from emdsl.fit.verify.far import far_out
from emdsl.fit.verify.invariance import SAME, apart, as_good, outermost
from emdsl.fit.verify.world import Unchecked
from emdsl.generate.shared import MOMENTS

IMPORT = re.compile(r"^\s*(?:from|import) (\w+)[\w.]*(?: import .*| as \w+)?$", re.MULTILINE)
WHERE_INSTALLED = {"numba", "threadpoolctl"}  # which modules do without
MAY_IMPORT = {"numpy", "scipy", *WHERE_INSTALLED, *sys.stdlib_module_names}


def alone(case: Case) -> Iterator[Check]:
    """The printed module imports numpy and scipy alone, fits as the package does, and its chunks can be any."""
    extra = sorted(set(IMPORT.findall(case.model.source)) - MAY_IMPORT)
    yield measured("the module alone", "imports beside numpy and scipy", len(extra), 0, ", ".join(extra))
    module = case.model.load_module()
    sys.modules.pop(module.__name__, None)
    make = getattr(module, _estimator(module))
    if goes_on(case.model, case.drawn):
        raise Unchecked(MANY)  # to a module that is not this one
    wanted = case.fit(case.start, 2)
    found = fitted(make, case.model, case.drawn, case.start, 2)
    yield measured("the module alone", "fits as the package does", apart(found, wanted), 0.0)
    if case.apart:
        yield _by_itself(case, make.__name__, wanted)
    weighed, beside, unweighed = _weighed(case, module.SPEC, wanted)
    cutting = [name for name in ("chunks", "wide_chunks") if hasattr(module, name)]
    if not cutting:
        yield skipped("chunks of two rows", "", "its rows are not cut into chunks")
    else:
        for name in cutting:
            setattr(module, name, lambda n, size: [slice(a, min(a + 2, n)) for a in range(0, n, 2)])
        module.LONG_PASS = module.FOR_TWO = 2
        module.blas_threads = lambda: 2  # either half on a thread of its own
        yield from _in_chunks(case, make, weighed, beside)
        if unweighed:
            yield skipped("chunks of two rows", "rows that weigh", unweighed)
    if hasattr(module, "e_step_once"):
        yield _row_by_row(case, module, make, weighed, beside)
    else:
        yield skipped("sums made once", "", "every pass is over the rows")


def _weighed(case: Case, spec: Mapping[str, Any], whole: Any) -> tuple[Any, dict[str, Any], str]:
    """A fit in which each row weighs what it does, and its weights; `whole` where none is made of them, and why."""
    why = "no plate of the data has a name"
    for name in outermost(case.world.model)[:1]:
        if name in spec.get("unweighted", {}):  # the package prints another module for it
            return whole, {}, f"rows of {name} weigh in another module: {spec['unweighted'][name]}"
        weights = 1 + 0.25 * (np.arange(case.drawn.setting.sizes[name]) % 3)  # few rows of large ones have no maximum
        beside: dict[str, Any] = {"sample_weight": weights, "weights_over": name}
        try:
            fit = case.fit(case.start, 2, **beside)
        except EmdslError as refused:  # an ordered plate, or one that makes no sense of weights
            return whole, {}, refused.problems[0].message
        if not far_out(case.model, case.drawn, fit.params_):
            return fit, beside, ""
        why = "a fit of rows that weigh goes far from where it starts"
    return whole, {}, why


def _in_chunks(case: Case, make: Any, whole: Any, beside: Mapping[str, Any]) -> Iterator[Check]:
    """A fit by chunks is the fit of all rows at once; so are its rows' likelihoods."""
    cut = fitted(make, case.model, case.drawn, case.start, 2, **beside)
    yield measured("chunks of two rows", "", *as_good(case, cut, whole, case.drawn, **beside))
    try:
        rows = whole.score_samples(case.data())
    except EmdslError as refused:
        yield skipped("chunks of two rows", "row by row", refused.problems[0].message)
        return
    there = fitted(make, case.model, case.drawn, whole.params_, 0)
    yield measured("chunks of two rows", "row by row", far(there.score_samples(case.data()), rows), SAME)


def _row_by_row(case: Case, module: Any, make: Any, wanted: Any, beside: Mapping[str, Any]) -> Check:
    """A fit from sums of data that were made once is the one that passes over the rows each time."""
    prepare, summed = module.prepare, []

    def without(data: Any, reference: Any) -> Any:
        prepared = prepare(data, reference)
        summed.append(prepared[MOMENTS] is not None)
        return {**prepared, MOMENTS: None}

    module.prepare = without
    found = fitted(make, case.model, case.drawn, case.start, 2, **beside)
    if not any(summed):
        return skipped("sums made once", "", "there are fewer rows than sums")
    return measured(
        "sums made once", "beside a pass over the rows", *as_good(case, found, wanted, case.drawn, **beside)
    )


def _by_itself(case: Case, estimator: str, wanted: Any) -> Check:
    """The same fit by an interpreter that has no emdsl."""
    subject = "in an interpreter without emdsl"
    job = {"estimator": estimator, "steps": 2, "sizes": case.sizes(), "data": case.data(), "init": case.start}
    try:
        params, history = fitted_apart(case.model.source, job)
    except Unchecked as why:
        return skipped("the module alone", subject, str(why))
    off = [far(params[n], v) for n, v in wanted.params_.items()] + [far(history, np.asarray(wanted.history_))]
    return measured("the module alone", subject, largest(*off), SAME)


def _estimator(module: Any) -> str:
    """The name of the model's own estimator class, the last one of the module."""
    base = module.Estimator
    return str(
        next(n for n, c in vars(module).items() if isinstance(c, type) and issubclass(c, base) and c is not base)
    )
