"""Moments of an observed variable under probabilities of the discrete latent that it reads, by the families' own.

E y = sum_k q_k m_k        var y = sum_k q_k (v_k + (m_k - E y)^2),      m_k, v_k the family's moments in state k
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from emdsl.families.density import arrange
from emdsl.families.scope import Array, Scope
from emdsl.families.table import form, record
from emdsl.fit.branches import leaves, split_leaves
from emdsl.fit.interpret import arguments, model_scope, plate_rows
from emdsl.fit.sampling import expressions, variable_reads
from emdsl.language.model import FamilyCall, Index, Loop, ModelText, Var, Variable, walk
from emdsl.runtime.binding import Bound


def moments_by_state(
    model: ModelText, v: Variable, q: Mapping[str, Any], params: Mapping[str, Array], data: Bound
) -> dict[str, Array] | None:
    """Mean and variance of every element; None where it is no number, or reads more than its own state.

    q : probabilities of the latents, (*plates, states), on the rows of `data`.
    """
    z = _state_of(model, v)
    if z is None or z not in q:
        return None
    p = np.asarray(q[z])
    lengths = {n: r.lengths for n, r in data.ragged.items()}
    each = []
    for k in range(p.shape[-1]):
        values = {**params, **data.values, z: np.full(p.shape[:-1], k)}
        each.append(_moments(v, plate_rows(v.plates, model_scope(model, values, data.sizes, lengths)), p.shape[:-1]))
    means, variances = (np.stack(found, axis=-1) for found in zip(*each, strict=True))
    mean = (p * means).sum(-1)
    return {"mean": mean, "var": (p * (variances + (means - mean[..., None]) ** 2)).sum(-1)}


def _moments(v: Variable, rows: Scope, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Means and variances given everything, row by row."""
    assert v.distribution is not None

    def moment(call: FamilyCall, s: Scope, which: str) -> Array:
        by, known = form(call.family, call.signature), record(call.family)
        assert by is not None and known is not None
        args = arrange(call.family, call.signature, arguments(call, s), 0)
        args = args if by.canonical is None else list(by.canonical(*args))
        return np.broadcast_to(getattr(known.kernel, which)(*args), (s.count,))

    first, second = (
        split_leaves(v.distribution, rows, lambda call, s, w=which: moment(call, s, w))
        for which in ("mean", "variance")
    )
    return first.reshape(shape), second.reshape(shape)


def _state_of(model: ModelText, v: Variable) -> str | None:
    """The one latent that a number's density reads, where it is discrete and of the same element."""
    if v.distribution is None or v.array or v.domain.dims or v.domain.lower is not None or v.domain.upper is not None:
        return None
    for call in leaves(v.distribution):
        by, known = form(call.family, call.signature), record(call.family)
        if by is None or known is None or by.given is not None or by.event or call.family.x.domain.dims:
            return None
    held = variable_reads(v, model) & {u.name for u in model.of_kind("latent")}
    if len(held) != 1:
        return None
    (z,) = held
    variable, loops = model.variable(z), [p.index for p in v.plates]
    places = [
        [a.name if isinstance(a, Loop) else "" for a in e.args]
        for top in expressions(v.distribution)
        for e in walk(top)
        if isinstance(e, Index) and isinstance(e.base, Var) and e.base.name == z
    ]
    discrete = variable.domain.kind in ("category", "bool") and [p.size for p in variable.plates] == [
        p.size for p in v.plates
    ]
    return z if discrete and places and all(p == loops for p in places) else None
