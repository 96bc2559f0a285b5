"""Printing what latents by configurations need: their states in each, and their own posteriors and best states."""

from __future__ import annotations

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import DataIx, El, Idx, Ix
from emdsl.derive.algebra.made import CONFIGURED, Q
from emdsl.derive.joint.factors import Configurations
from emdsl.derive.joint.plates import home_of, plate_indices
from emdsl.derive.plan import Plan
from emdsl.derive.posteriors.block import Block
from emdsl.derive.posteriors.configurations import MOST, MOST_UNASKED, asked, place_in
from emdsl.generate.context import Function, size_expression
from emdsl.generate.lines.arrays import Array
from emdsl.generate.lines.kept import STATE
from emdsl.language import model as m


def configured_lines(plan: Plan) -> list[str]:
    """The lines of `prepare` that make the states of each configuration."""
    found = plan.joint.configurations
    if found is None:
        return []
    cells, names = [], []
    for n in found.latents:
        inner = inner_lengths(plan, n)
        lengths = ", ".join(map(_size, inner))
        cells.append(f"({_size(plan.joint.levels[n])}, ({lengths}{',' if len(inner) == 1 else ''}))")
        names.append(f'"configured {n}"')
    told = ", ".join(f'"{part}"' for part in _told(plan, found.latents))
    comma = "," if len(cells) == 1 else ""
    known = ", ".join(_known(plan, n) for n in found.latents)
    return [
        *(line for n, at in found.pointed.items() for line in _positions(n, at, found)),
        f"states = configurations([{', '.join(cells)}], {_most(plan, found)}, {told}, [{known}])",
        f'sizes["{found.dimension}"] = len(states[0])',
        f"out.update(zip(({', '.join(names)}{comma}), states, strict=True))",
        *(f'out["beyond {n}"] = beyond(out["configured {n}"], out["length {r}"])' for n, r in _uneven(plan)),
    ]


def _most(plan: Plan, found: Configurations) -> str:
    """How many there may be: where nobody asked, no more than an iteration over all groups has time for."""
    if asked(plan.joint.model) or not found.plates:
        return str(MOST)
    return f"min({MOST}, {MOST_UNASKED} // max(1, {' * '.join(_size(i.dim) for i in plate_indices(found.plates))}))"


def _known(plan: Plan, latent: str) -> str:
    """What was seen of a latent that is data in part, and where, where one configuration holds all of it."""
    found, model = plan.joint.configurations, plan.joint.model
    assert found is not None
    data = next((v for v in model.variables if v.data_of == latent and not v.domain.dims and not v.array), None)
    if data is None or found.plates:
        return "None"
    return f'(data.values["{data.name}"], data.masks["{data.name}"])'


def _positions(latent: str, at: Idx, found: Configurations) -> list[str]:
    """Lines that count the elements of a latent within each place that givens lead to."""
    dim = plate_indices(found.plates)[0].dim
    return [
        f'out["position {latent}"], out["length {latent}"] = positions({_of_data(at)}, {_size(dim)})',
        f'sizes["{latent}[max]"] = int(out["length {latent}"].max(initial=0))',
    ]


def _of_data(at: Idx) -> str:
    """Code of the places that givens lead to, for every element: `data.values["region"][data.values["school"]]`."""
    assert isinstance(at, DataIx) and isinstance(at.value, El)
    inner = at.value.idx[0]
    return f'data.values["{at.value.var}"]' + ("" if isinstance(inner, Ix) else f"[{_of_data(inner)}]")


def _told(plan: Plan, latents: tuple[str, ...]) -> tuple[str, str]:
    """Whose configurations they are, and what to write where they are too many."""
    beside = [b for b in plan.elimination.blocks if not b.states]
    groups = [f"({', '.join(b.latents)})" if len(b.latents) > 1 or b.field else b.latents[0] for b in beside]
    gaps = sorted(plan.joint.incomplete)
    keep = [f"({n})" if gaps else n for n in latents]  # a chain whose elements the gaps alone tie to others
    ways = f"infer {', '.join((*keep, *groups))} by meanfield"
    names = ", ".join(latents)
    if gaps:
        return f"{names} beside missing {', '.join(gaps)}", ways
    return names, f"{ways}, or infer {names} by saem (or mcmc), which draws them"


def inner_lengths(plan: Plan, latent: str) -> list[str]:
    """The lengths of the axes that a latent's states in one configuration have."""
    found, v = plan.joint.configurations, plan.joint.model.variable(latent)
    assert found is not None
    if latent in found.pointed:
        return [f"{latent}[max]", *(i.dim for i in home_of(v)[1:])]
    if found.plates and isinstance(v.plates[-1].size, m.Ragged):
        return [f"{v.plates[-1].size.name}[max]"]
    return [i.dim for i in home_of(v)[len(found.plates) :]]


def _uneven(plan: Plan) -> list[tuple[str, str]]:
    """Latents of which a configuration is as long as the longest row, each with what has the lengths of the rows."""
    assert plan.joint.configurations is not None
    lengths = [(n, inner_lengths(plan, n)) for n in plan.joint.configurations.latents]
    return [(n, d[0].removesuffix("[max]")) for n, d in lengths if d and d[0].endswith("[max]")]


def _size(dim: str) -> str:
    return dim if dim.isdigit() else size_expression(dim)


def configured_fields(f: Function, block: Block) -> list[tuple[str, str, Array]]:
    """The probabilities of each latent's states: of all configurations in which an element is in that state."""
    found = f.plan.joint.configurations
    assert found is not None
    at, out = block.states[block.latents.index(found.name)], []
    for n in found.latents:
        home = home_of(f.plan.joint.model.variable(n))
        place, rest = place_in(f.plan.joint.model.variable(n), home, found, f.plan.joint.model)
        level = Ix(n, f.plan.joint.levels[n])
        whole = El(Q.of(block.name), (*block.states, *block.gates, *block.home))
        q = x.substitute(whole, dict(zip(block.home, place, strict=True)))
        state = x.sel(El(CONFIGURED.of(n), (at, *rest)), level)
        value = f.emitter.contract([q, state], (level, *home))
        out.append((n, "", f.emitter.broadcast(value, (level, *home))))
    return out


def configured_path(f: Function) -> list[str]:
    """The states of each latent in the best configuration, `best` its number for each element outside."""
    found = f.plan.joint.configurations
    assert found is not None
    out, em, model = [], f.emitter, f.plan.joint.model
    for n in found.latents:
        home = home_of(model.variable(n))
        place, rest = place_in(model.variable(n), home, found, model)
        best = x.as_index(El(STATE.of(found.name), place))
        code = em.broadcast(em.value(El(CONFIGURED.of(n), (best, *rest))), home).code
        out.append(f'"{n}": plates_first({code}, {len(home)}),')
    return out
