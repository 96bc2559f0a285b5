"""The factors of q as functions of a module: their names, and which are of the population."""

from __future__ import annotations

from emdsl.derive.posteriors.blocks import Part
from emdsl.generate.printer import Printer


def part_name(printer: Printer, part: Part) -> str:
    """The name of a factor's function."""
    return "factor_of_" + "_".join(printer.inference.emitter.namer.of(n) for n in part.latents)


def is_shared(printer: Printer, part: Part) -> bool:
    """Whether a factor is of the population, not of the rows of data: its latents lie on no plate of observed ones."""
    model = printer.plan.joint.model
    seen = {str(p.size) for v in model.of_kind("observed") for p in v.plates}
    return not any(str(p.size) in seen for n in part.latents for p in model.variable(n).plates)
