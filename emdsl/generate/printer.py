"""What the functions of one module share: names, rows, the chunked plate, the body of inference."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from emdsl.derive.algebra.made import AT, VOLUME, among
from emdsl.derive.linear_means import without_rows
from emdsl.derive.numbering import numbers
from emdsl.derive.plan import Plan
from emdsl.derive.posteriors.block import Block
from emdsl.derive.posteriors.once import known_data
from emdsl.generate.blocks.clouds import block_of, density_name, emit_points
from emdsl.generate.blocks.estep import emit_block, emit_joint_probabilities
from emdsl.generate.blocks.features import Stacked
from emdsl.generate.blocks.handed import handed_parts
from emdsl.generate.context import CHUNKS, Function, chunk_dimension, function, row_dimensions, size_expression
from emdsl.generate.helpers import helper_names
from emdsl.generate.lines.kept import POINTS
from emdsl.generate.lines.spelling import apart_by, indent, references
from emdsl.generate.shared import MOMENTS, Handed, RowKinds, Sums


class Printer:
    """Prints one module; holds what its functions share: names, rows, the chunked plate."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.rows = row_dimensions(plan)
        self.chunk = chunk_dimension(plan)
        self.helpers = helper_names()
        incomplete = (n for b in plan.elimination.blocks for n in b.latents)
        known = known_data(plan.joint.model, (*incomplete, *plan.drawn), plan.joint.tables, self.chunk)
        found = without_rows(plan, known)
        self.once = None if isinstance(found, str) else found
        self.sums, self.moments, self.kinds = Sums(known), Sums(known, MOMENTS), RowKinds()
        self.numbers = numbers(plan)  # of the derivation's equations, which comments name
        self.handed = handed_parts(plan, self.rows) if plan.elimination.parts else ()
        self.row_stacks: dict[str, Stacked] = {}  # of a factor of q: the features of its rows
        self.inference, self.stacks = self._inference()

    def function(self) -> Function:
        """An empty function of this module."""
        f = function(self.plan, self.helpers, self.chunk, self.rows, self.numbers)
        f.sums = self.sums if self.once is None else None  # where rows are needed only with gaps, all is left to them
        f.handed = self.handed
        f.kinds = self.kinds
        return f

    def row_function(self) -> Function:
        """The same, with sums of data made and not read."""
        return function(self.plan, self.helpers, self.chunk, self.rows, self.numbers)

    def _inference(self) -> tuple[Function, list[Stacked]]:
        """The body of `expectations`: every block forward, then joint probabilities backward."""
        f = self.function()
        stacks = []
        if self.plan.elimination.parts:
            return f, []  # each factor of q has a function of its own
        for cloud in self.plan.joint.clouds:
            start = len(f.emitter.lines)
            emit_points(f, cloud, density_name(self.plan, cloud))
            self._told(f, start, block_of(self.plan, cloud))
        for block in self.plan.elimination.blocks:
            stack = self.block(f, block)
            if stack is not None:
                stacks.append(stack)
        inner = len(f.emitter.lines)
        emit_joint_probabilities(f, self.plan.elimination.blocks)
        if len(f.emitter.lines) > inner:
            several = references(self.numbers.found(b) for b in self.numbers.posterior)
            f.emitter.lines.insert(inner, f"# {several} together: each posterior with those that it is given")
        return f, stacks

    def block(self, f: Function, block: Block, stacked: bool = True) -> Stacked | None:
        """The lines of one block, under the number that the derivation has for its posterior."""
        number, names, em = self.numbers.posterior[block.name], ", ".join(block.latents), f.emitter
        inner, outer = len(em.lines), len(em.outer)
        with f.printing(number, behind=False):
            stack = emit_block(f, block, stacked)
        said = f"# what the posterior of {names} takes from the parameters"
        if len(em.outer) > outer and len(em.lines) == inner + 1 and em.lines[inner].startswith("# "):
            said = em.lines.pop()  # all of it stands before the loop
        self._told(f, inner, block)
        if len(em.outer) > outer:
            em.outer.insert(outer, said.replace("# ", f"# ({number}) ", 1))
        if stack is not None:
            own = self.numbers.of(block.name, "node" if block.chain is not None else "joint")
            stack.function.insert(2, f"    # ({own}) the data's part of the log joint of {names}")
        return stack

    def stacked(self, f: Function, h: Handed) -> Stacked | None:
        """The lines of a factor of q in chunks of rows; of one such factor what rows enter through is kept."""
        first = next((n for n in self.row_stacks), h.block.name) == h.block.name
        stack = self.block(f, h.block, first)
        if stack is not None:
            self.row_stacks[h.block.name] = stack
        return stack

    def chunks_of(self, h: Handed) -> str:
        """Code of the chunks of rows of a factor of q."""
        if h.block.name in self.row_stacks:
            return 'prepared["the chunks"]'
        size = size_expression
        states = " * ".join(size(s.dim) for s in h.block.states)
        return f"chunks({size(h.row.dim)}, max(512, min(8192, 2**16 // ({states}))))"

    def _told(self, f: Function, start: int, block: Block) -> None:
        """The comment above the lines of a block, if there are any, names its number."""
        lines, number = f.emitter.lines, self.numbers.posterior[block.name]
        if lines[start : start + 1] and lines[start].startswith("# "):
            lines[start] = lines[start].replace("# ", f"# ({number}) ", 1)
        elif len(lines) > start:
            lines.insert(start, f"# ({number}) the posterior of {', '.join(block.latents)}")

    def results(self) -> list[str]:
        """What `expectations` hands to the others: names of posteriors, normalisers, moments, features."""
        codes = [_read(leaf.code) for leaf in self.inference.runtime.values() if leaf.code]
        return list(dict.fromkeys([*codes, *(s.code for s in self.stacks)]))

    def reader(self) -> Function:
        """A function that reads the results of `expectations` under the same names."""
        f = self.function()
        f.runtime.update({k: replace(v, inner=True) if among(k, (AT, VOLUME)) else v
                          for k, v in self.inference.runtime.items()})  # fmt: skip
        f.lookups.update(self.inference.lookups)
        f.covariances.update(self.inference.covariances)
        f.emitter.namer.taken |= set(self.results())
        return f

    def counted(self, f: Function) -> dict[str, str]:
        """How many points clouds have of which that is known with the points, where `f` asks: name -> its line."""
        out = {}
        for c in self.plan.joint.clouds:
            asked = next((n for n, line in f.unpacked.items() if c.bends and line.endswith(f'["{c.dimension}"]')), "")
            if asked:
                out[asked] = f"{asked} = {f.runtime[POINTS.of(c.name)].code}.shape[1]"
        return out

    def placed(self, f: Function, lines: Sequence[str]) -> tuple[list[str], list[str]]:
        """The hoisted part of a function and its lines: what reads how many points there are stands where that is known
        with the points."""
        counts = [f.emitter.size(c.dimension) for c in self.plan.joint.clouds if c.bends]
        outer, moved = apart_by(f.emitter.outer, counts)
        at = max((n + 1 for n, line in enumerate(lines) if line.partition(" = ")[0] in counts), default=0)
        return outer, [*lines[:at], *moved, *lines[at:]]

    def opening(self, f: Function, call: str = "") -> list[str]:
        """What stands before the loop: unpacked arrays, the hoisted part, and without chunks the one pass."""
        names, counted = ", ".join(self.results()), self.counted(f)
        lines = ['sizes = prepared["the sizes"]', *(line for n, line in f.unpacked.items() if n not in counted)]
        if names:
            lines.append("on = expectations(params, prepared)")
        if names and not self.chunk:
            lines += [f"{names} = on({call})", *counted.values()]
        return [*lines, *f.emitter.outer]

    def loop(self, f: Function, lines: Sequence[str], call: str = "", chunks: str = CHUNKS) -> list[str]:
        """The loop over chunks (or the lines alone) around lines that use the results."""
        names, counted = ", ".join(self.results()), self.counted(f)
        if not self.chunk:
            return list(lines)
        arguments = ", ".join(["rows", *([call] if call else [])])
        count = f"{f.emitter.namer.rows} = row_count(rows)"
        body = [count, *([f"{names} = on({arguments})", *counted.values()] if names else []), *lines]
        return [f"for rows in {chunks}:", *indent(body, 1)]


def _read(code: str) -> str:
    """The name that the code of a result reads: `moments_w` of `np.broadcast_to(moments_w["id"], ...)`."""
    return re.split(r"[\[.]", re.sub(r"^(?:np\.\w+\()+", "", code))[0]
