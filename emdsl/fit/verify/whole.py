"""The certificate of a whole model: of its derivation, of how its latents are drawn, of each factor of q."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from emdsl.derive.posteriors.draws import known
from emdsl.derive.posteriors.meanfield import alone
from emdsl.derive.posteriors.quadrature import denser
from emdsl.errors import ModelError
from emdsl.fit.verify import Certificate, certify, drawing, with_draws, with_factors
from emdsl.fit.verify.case import Compiled
from emdsl.language.model import Dim, ModelText

POINTS = (161, 31)  # of quadrature in one dimension, in each of two
NESTED = (61, 31)  # where one has its own at another's: of rules that take as many, and of those with four times these


class Rewritable(Compiled, Protocol):
    """A model of which others are made, by another text: `emdsl.fit.model.Model`."""

    @property
    def refusal(self) -> ModelError | None: ...
    def written(self, resolved: ModelText) -> Any: ...


def certificate(model: Rewritable, seed: int, apart: bool) -> Certificate:
    """See `Model.verify`."""
    model = _written_out(model)
    drawn = sorted(model.derived.drawn)
    if drawn:
        given = model.written(known(model.resolved, drawn))
        return with_draws(certify(given, seed, apart, seen=frozenset(drawn)), drawing(model, given, seed))
    if len(model.derived.elimination.parts) > 1:
        found = certify(model, seed, apart)
        made = {", ".join(p.latents): _factor(model, p.latents) for p in model.derived.elimination.parts}
        return with_factors(found, made, frozenset(v.name for v in model.resolved.of_kind("latent")), seed)
    return certify(_denser(model), seed, apart, plain=partial(_plain, model), finer=partial(_denser, model, 2))


def _written_out(model: Rewritable) -> Rewritable:
    """The model with the sizes that its plan is written out for, where only data would tell them."""
    numbers = dict(model.derived.joint.model.written_out)
    if not numbers:
        return model
    sizes = [replace(s, default=Dim.of(numbers[s.name])) if s.name in numbers else s for s in model.resolved.sizes]
    found: Rewritable = model.written(replace(model.resolved, sizes=tuple(sizes), written_out=tuple(numbers.items())))
    return found


def _factor(model: Rewritable, latents: tuple[str, ...]) -> Any:
    """The model of one factor of q: the other latents are data; what is held at points is at more of them."""
    found = model.written(alone(model.resolved, latents))
    return found if found.refusal is not None else _denser(found)


def _plain(model: Rewritable) -> Any:
    """The model at its own points; as many as it begins with, where some lie inside others: twice as many in each are
    four times, or eight times as many."""
    joint = model.derived.joint
    return model.written(denser(joint, (0, 0))) if any(c.outer for c in joint.clouds) else model


def _denser(model: Rewritable, times: int = 1) -> Any:
    """The model at more points of quadrature, where it has any; at so many times as many."""
    joint = model.derived.joint
    if not any(c.method == "quadrature" for c in joint.clouds):
        return model
    single, paired, around, inside = (times * count for count in (*POINTS, *NESTED))
    return model.written(denser(joint, (single, paired), (around, inside)))
