"""Printing what is kept of missing cells: which of them an element lacks, as the number of its pattern."""

from __future__ import annotations

from emdsl.derive.posteriors.block import Block
from emdsl.generate.context import plates_last, size_expression


def pattern_lines(block: Block) -> list[str]:
    """The lines of `prepare` that group the elements of a block by what is missing of them."""
    g, name = block.gaussian, block.name
    if g is None or not block.by_pattern:
        return []
    cells = [
        f'out["unseen {n}"]' if n in g.seen else " * ".join(f"({size_expression(i.dim)})" for i in g.rows[n]) or "1"
        for n in block.latents
    ]
    sizes = [f"({size_expression(block.home[k].dim)})" for k in plates_last(len(block.home))]
    made = f"cell_patterns([{', '.join(cells)}], [{', '.join(sizes)}])"
    count = [f'out["free {name}"] = out["the patterns of {name}"].sum(1)[out["pattern {name}"]]'] if block.scale else []
    return [
        f'out["the patterns of {name}"], out["pattern {name}"] = {made}',
        f'sizes["{name}[patterns]"] = len(out["the patterns of {name}"])',
        *count,
    ]
