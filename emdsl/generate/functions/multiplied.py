"""Printing the one field of a plan with a multiplier for each density: what is solved where rounding takes digits."""

from __future__ import annotations

from emdsl.derive.algebra.made import COV
from emdsl.derive.posteriors.roles import linear_in
from emdsl.generate.blocks.fields import (
    data_of_field,
    linear_piece,
    multiplied_name,
    parts_of_field,
    parts_of_precision,
    piece_of_precision,
)
from emdsl.generate.context import Function
from emdsl.generate.lines.spelling import indent, numbered
from emdsl.generate.printer import Printer


def multiplied_lines(printer: Printer) -> list[str]:
    """`multiplied_h(params, prepared)`: what `field_with_multipliers` takes, pieces of the plain field first."""
    block = printer.plan.multiplied
    if block is None or block.field is None or block.gaussian is None:
        return []
    (plain,) = printer.plan.elimination.blocks
    f, g, field = printer.row_function(), block.gaussian, block.field
    own = parts_of_precision(plain)
    found = [*own, *(p for p in parts_of_precision(block) if p not in own)]
    number = printer.numbers.posterior[plain.name]
    with f.printing(number):
        linear = ", ".join(linear_piece(f, block, linear_in(a), (*field.homes[a], *g.rows[a])) for a in block.latents)
        pieces = [f"{piece_of_precision(f, block, part)}," for part in found]
        parts, seen = parts_of_field(f, block, field), data_of_field(f, block, field)
    homes = ", ".join(str(len(field.homes[a])) for a in block.latents)
    lines = ['sizes = prepared["the sizes"]', *f.prologue(), *f.emitter.outer, *f.emitter.lines]
    lines += [f'field = prepared["the field of {plain.name} and multipliers"]']
    lines += numbered([f"return field, [{linear}], [{homes}], ["], number)
    lines += [*indent(numbered(pieces, number), 1), f"], {len(own)}, {parts}, {seen}"]
    doc = f'"""({number}) by what each density says, its residual and its covariance, tied by a multiplier."""'
    return [f"def {multiplied_name(f)}(params, prepared):", *indent([doc, *lines], 1)]


def found_at_once(f: Function, rows: str = "") -> list[str]:
    """Where densities were taken by multipliers, the log-likelihood is no sum of terms; of each row, if asked."""
    if f.plan.multiplied is None:
        return []
    whole = next(leaf.code.split("[")[0] for name, leaf in f.runtime.items() if name in COV) + ".whole"
    if not rows:
        return [f"if {whole} is not None:", f"    log_likelihood = np.sum({whole})"]
    field = f.plan.multiplied.field
    by_row = field is not None and [i.dim for i in field.outer] == [rows]
    return [f"if {whole} is not None:", f"    return {whole}"] if by_row else []
