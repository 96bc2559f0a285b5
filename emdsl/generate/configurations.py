"""Printing what latents by configurations need: their states in each, and their own posteriors and best states."""

from __future__ import annotations

from emdsl.derive import expr as x
from emdsl.derive.block import Block
from emdsl.derive.configurations import MOST, STATE
from emdsl.derive.expr import El, Ix
from emdsl.derive.plan import Plan
from emdsl.derive.plates import home_of
from emdsl.generate.arrays import Array
from emdsl.generate.context import Function, size_expression


def configured_lines(plan: Plan) -> list[str]:
    """The lines of `prepare` that make the states of each configuration."""
    found = plan.joint.configurations
    if found is None:
        return []
    cells, names = [], []
    for n in found.latents:
        home = home_of(plan.joint.model.variable(n))[found.depth :]
        lengths = ", ".join(_size(i.dim) for i in home)
        cells.append(f"({_size(plan.joint.levels[n])}, ({lengths}{',' if len(home) == 1 else ''}))")
        names.append(f'"configured {n}"')
    beside = [b.latents for b in plan.elimination.blocks if not b.states]
    groups = [f"({', '.join(names)})" if len(names) > 1 else names[0] for names in beside]
    told = f'"{", ".join(found.latents)}", "{", ".join((*found.latents, *groups))}"'
    comma = "," if len(cells) == 1 else ""
    return [
        f"states = configurations([{', '.join(cells)}], {MOST}, {told})",
        f'sizes["{found.dimension}"] = len(states[0])',
        f"out.update(zip(({', '.join(names)}{comma}), states, strict=True))",
    ]


def _size(dim: str) -> str:
    return dim if dim.isdigit() else size_expression(dim)


def configured_fields(f: Function, block: Block) -> list[tuple[str, str, Array]]:
    """The probabilities of each latent's states: of all configurations in which an element is in that state."""
    found = f.plan.joint.configurations
    assert found is not None
    (at,) = block.states
    out = []
    for n in found.latents:
        home = home_of(f.plan.joint.model.variable(n))
        place, rest = home[: found.depth], home[found.depth :]
        level = Ix(n, f.plan.joint.levels[n])
        q = x.substitute(El(f"q:{block.name}", (at, *block.home)), dict(zip(block.home, place, strict=True)))
        state = x.sel(El(f"{STATE}{n}", (at, *rest)), level)
        value = f.emitter.contract([q, state], (level, *home))
        out.append((n, "", f.emitter.broadcast(value, (level, *home))))
    return out


def configured_path(f: Function, block: Block) -> list[str]:
    """The states of each latent in the best configuration, `best` its number for each element outside."""
    found = f.plan.joint.configurations
    assert found is not None
    best = f.runtime[f"state:{block.name}"].code
    return [f'"{n}": {f.emitter.leaf(f"{STATE}{n}").code}[{best}],' for n in found.latents]
