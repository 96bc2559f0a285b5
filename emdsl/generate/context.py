"""What the generator knows while it prints: the plan, how arrays are stored, and names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El
from emdsl.derive.algebra.made import (
    AS_GIVEN,
    AT,
    BEYOND,
    CONFIGURED,
    COUNT,
    FREE,
    MIXING,
    PATTERN,
    PRESENT,
    RAW,
    REFERENCE,
    STATISTIC,
    UNSEEN,
    WEIGHT,
    among,
    is_made,
    made_of,
    stored,
    subject,
)
from emdsl.derive.joint.centre import Shift, of_one_number
from emdsl.derive.joint.designs import unmixed
from emdsl.derive.joint.plates import dimension, home_of
from emdsl.derive.numbering import Numbers, numbers
from emdsl.derive.plan import Plan
from emdsl.derive.posteriors.block import Block
from emdsl.derive.posteriors.quadrature import bounded
from emdsl.derive.updates.rules import Closed
from emdsl.generate.lines.arrays import Leaf
from emdsl.generate.lines.expressions import Emitter
from emdsl.generate.lines.kept import FIRST_ROW, SUM, UNDER
from emdsl.generate.lines.names import Namer
from emdsl.generate.lines.spelling import numbered
from emdsl.generate.shared import Handed, RowKinds, Sums
from emdsl.language import model as m
from emdsl.language.left_out import run_over

KINDS = "the kinds"


CHUNKS = 'one_by_one(prepared["the chunks"])'  # code of the rows of data that passes over them take in turn


@dataclass
class Function:
    """One function being printed: its emitter, and which arrays it must unpack first, in order of use.

    With `largest`, discrete blocks leave the largest weight over their states for the sum of all; with `drawing`,
    what draws them needs.
    """

    plan: Plan
    emitter: Emitter
    numbers: Numbers
    unpacked: dict[str, str] = field(default_factory=dict)  # code name -> the line that makes it
    runtime: dict[str, Leaf] = field(default_factory=dict)

    helpers: frozenset[str] = frozenset()
    largest: bool = False
    lookups: dict[tuple[str, str], Block] = field(default_factory=dict)  # columns of codes that lie in a chain's lanes
    sums: Sums | None = None  # what it takes from sums of data, where it may
    handed: tuple[Handed, ...] = ()  # the factors of q whose sums over rows it reads, where it may
    kinds: RowKinds | None = None  # what precisions take from the rows
    covariances: dict[str, tuple[str, int, tuple[str, ...]]] = field(default_factory=dict)  # code, which, their plates
    drawing: bool = False
    edges: dict[str, list[str]] = field(default_factory=dict)  # functions that make edges of chains for some rows
    pieces: str = CHUNKS  # code of the rows that passes over the data take one after the other
    equation: object = ""  # the number of the equation that is being printed

    @contextmanager
    def printing(self, number: object, behind: bool = True) -> Iterator[None]:
        """Lines made inside belong to this equation; `behind`: each carries its number, no comment above them does."""
        since, before, self.equation = self.emitter.mark(), self.equation, number
        yield
        self.equation = before
        if behind:
            self.emitter.number(since, number)

    @contextmanager
    def part(self, block: Block, *parts: str) -> Iterator[None]:
        """Lines made inside carry the numbers of these parts of a block's posterior."""
        found = list(dict.fromkeys(self.numbers.of(block.name, p) for p in parts))
        since, before, self.equation = self.emitter.mark(), self.equation, found[0]
        yield
        self.equation = before
        if found != [str(self.numbers.posterior.get(block.name))]:  # which the comment above all of the block names
            self.emitter.number(since, *found)

    def another(self, chunk: str | None) -> Function:
        """A fresh function of the same module, over rows of `chunk`."""
        return function(self.plan, self.helpers, chunk, self.emitter.rows, self.numbers)

    def prologue(self) -> list[str]:
        """The lines that unpack what the function reads."""
        return list(self.unpacked.values())


def row_dimensions(plan: Plan) -> frozenset[str]:
    """Dimensions whose axes are stored last: the plates of data and latents."""
    out: set[str] = set()
    for v in plan.joint.model.variables:
        if v.kind != "param":
            for p in v.plates:
                out.add(f"{p.size.name}[]" if isinstance(p.size, m.Ragged) else str(p.size))
    return frozenset(out)


def chunk_dimension(plan: Plan) -> str | None:
    """The plate that data can be cut along: the single home of every block, touched in no other way."""
    if plan.elimination.parts:
        return None  # factors of q are kept whole between sweeps
    homes = {b.home for b in plan.elimination.blocks}
    if any(b.chain is not None for b in plan.elimination.blocks):
        return None
    if len(homes) > 1 or any(len(h) != 1 for h in homes) or any(b.neighbours for b in plan.elimination.blocks):
        return None
    observed = plan.joint.model.of_kind("observed")
    outer = {dimension(v.plates[0].size) for v in observed if v.plates}
    if len(outer) != 1 or any(not v.plates for v in observed):
        return None
    (dim,) = outer
    if homes and next(iter(homes))[0].dim != dim:
        return None
    if any(isinstance(p.size, m.Ragged) for v in plan.joint.model.variables for p in v.plates):
        return None  # rows of a ragged plate are no slice of the outer one's
    for v in plan.joint.model.variables:
        axes = [str(s) for s in v.shape]
        if v.kind == "param" and dim in axes:
            return None
        if v.kind != "param" and (dim in axes[1:] or (v.domain.levels is not None and str(v.domain.levels) == dim)):
            return None
        if v.kind in ("given", "observed") and dim in axes and not v.plates:
            return None
    if dim in run_over(plan.joint.model):
        return None
    if any(i.dim == dim for s in plan.expected.statistics for i in s.axes):
        return None  # one for each row, where parameters meet its number: exp(slope t)
    return dim


def counted_plate(plan: Plan, latent: str) -> str:
    """The ragged plate of a latent whose equal rows are one; "" where there is none."""
    plates = [dimension(p.size) for p in plan.joint.model.variable(latent).plates]
    return plates[-1].removesuffix("[]") if plates and plates[-1] in plan.joint.counted else ""


def told_row_by_row(plan: Plan, latent: str, code: str) -> str:
    """What equal rows of a counted plate have together, rows last, for each of them; the code as it is elsewhere."""
    plate = counted_plate(plan, latent)
    return f'{code}[..., prepared["which {plate}"]]' if plate else code


def stored_order(v: m.Variable) -> tuple[int, ...]:
    """Where a flat data array keeps its axes: its own first, inner plates, the outermost plate last."""
    plates, rest = flat_axes(v)
    return (*range(plates, plates + rest), *plates_last(plates))


def plates_last(plates: int) -> tuple[int, ...]:
    """The order in which plate axes are stored."""
    return (*range(1, plates), 0) if plates else ()


def flat_axes(v: m.Variable) -> tuple[int, int]:
    """(plate axes after ragged ones are flattened, other axes)."""
    plates = 0
    for p in v.plates:
        plates = 1 if isinstance(p.size, m.Ragged) else plates + 1
    return plates, len(v.array) + len(v.domain.dims)


def function(
    plan: Plan, helpers: frozenset[str], chunk: str | None, rows: frozenset[str], told: Numbers | None = None
) -> Function:
    """A fresh function whose leaves unpack themselves; `told`: the numbers of the module's plan, if this is another."""
    names = tuple(v.name for v in plan.joint.model.variables) + tuple(s.name for s in plan.joint.model.sizes)
    namer = Namer(names, helpers | {"start"} if plan.elimination.parts else helpers)  # called by `initial` there
    holder: dict[str, Function] = {}

    def leaf(name: str) -> Leaf:
        return _leaf(holder["f"], name)

    def sized(dim: str, code: str) -> None:
        holder["f"].unpacked.setdefault(code, f"{code} = {size_expression(dim)}")

    far = frozenset(AT.of(n) for c in plan.joint.clouds if bounded(c, plan.joint) for n in c.latents)
    emitter = Emitter(leaf, namer, rows, chunk, sized=sized, far=far)
    made = Function(plan, emitter, told or numbers(plan), helpers=helpers)
    holder["f"] = made
    return made


def size_expression(dim: str) -> str:
    """Code for a length: `sizes["K"]`, or a polynomial of these."""
    if dim.endswith("]"):
        return f'sizes["{dim}"]'
    return re.sub(r"[^\W\d]\w*", lambda n: f'sizes["{n[0]}"]', dim)


def size_factor(dim: str) -> str:
    """Code for a length as a factor of a product."""
    return dim if dim.isdigit() else f"({size_expression(dim)})"


def _leaf(f: Function, name: str) -> Leaf:
    if name in f.runtime:
        return f.runtime[name]
    em = f.emitter
    model = f.plan.joint.model
    if name in f.plan.joint.tables:
        return Leaf(name, tuple(range(_depth(f.plan.joint.tables[name]))))
    if name == WEIGHT:
        code = em.namer.of(WEIGHT)
        f.unpacked.setdefault(code, f'{code} = prepared["the weight"]')
        return Leaf(code, (0,))
    if name in f.plan.moments:
        for h in f.handed:
            h.whole |= h.q == name
        axes = f.plan.moments[name]
        stored = em.stored_order(axes)
        code = em.namer.of(name)
        f.unpacked.setdefault(code, f'{code} = factors["{name}"]')
        return Leaf(code, tuple(axes.index(i) for i in stored))
    if is_made(name):
        return _special(f, name)
    v = model.variable(name)
    code = em.namer.of(name)
    if v.kind == "param":
        if code not in f.unpacked:
            f.unpacked[code] = _working(f, v, code)
        return Leaf(code, tuple(range(len(v.shape))), table=True)
    f.unpacked.setdefault(code, f'{code} = prepared["{name}"]')
    return Leaf(code, stored_order(v), integer=v.domain.discrete and v.domain.kind != "count")


def _working(f: Function, v: m.Variable, code: str) -> str:
    shift = f.plan.shifts.get(v.name)
    if shift is None:
        given = f'params["{v.name}"]'
        return f"{code} = {f'at_its_limit({given})' if _may_be_infinite(f.plan, v) else given}"
    em, number = f.emitter, f.numbers.shifted(v.name)
    before, known, named = len(em.outer), em.known, em.named
    em.known, em.named = {}, {}  # what is known already may have its lines below
    value = em.value(x.rebuild(shift.value, _from_given(shift)))
    em.known, em.named = em.known | known, em.named | named
    for line in numbered(em.outer[before:], number):
        f.unpacked.setdefault(line, line)
    del em.outer[before:]
    return f'{code} = params["{v.name}"] - {f.emitter.align(value, shift.axes)}  # ({number})'


def _may_be_infinite(plan: Plan, v: m.Variable) -> bool:
    """Whether its update is the log of a ratio of counts, of which either may be 0."""
    rule = next((u.rule for u in plan.updates if v.name in u.params), None)
    root = rule.root.value if isinstance(rule, Closed) else x.ZERO
    return v.domain.kind == "real" and any(isinstance(e, x.Fn) and e.name == "log" for e in x.walk(root))


def _from_given(shift: Shift) -> Callable[[x.Expr], x.Expr | None]:
    """Elements of the shifted parameter itself in terms of `params`: those above it, which are shifted by fewer."""

    def working(e: x.Expr) -> x.Expr | None:
        if not isinstance(e, El) or e.var != shift.param:
            return None
        value = unmixed(x.substitute(shift.value, dict(zip(shift.axes, e.idx, strict=True))))
        return x.add(El(AS_GIVEN.of(e.var), e.idx, e.sort), x.neg(x.rebuild(value, working)))

    return working


def as_given(names: Sequence[str]) -> Callable[[x.Expr], x.Expr | None]:
    """Elements of parameters that a shift holds, read as they stand in `params`: those are not shifted."""

    def read(e: x.Expr) -> x.Expr | None:
        return El(AS_GIVEN.of(e.var), e.idx, e.sort) if isinstance(e, El) and e.var in names else None

    return read


def _special(f: Function, name: str) -> Leaf:
    """The array of an element that the compiler made, with the line that unpacks it."""
    model, of = f.plan.joint.model, subject(name)
    if name in STATISTIC:
        stat = next(s for s in f.plan.expected.statistics if s.name == of)
        return Leaf(_unpacked(f, name, f'statistics["{of}"]'), tuple(range(len(stat.axes))))
    if name in AS_GIVEN:
        return Leaf(f'params["{of}"]', tuple(range(len(model.variable(of).shape))))
    if name in SUM:
        assert f.sums is not None
        axes = next(len(s.axes) for s, n in f.sums.found.items() if n == of)
        return Leaf(_unpacked(f, name, f'prepared["{f.sums.key}"]["{of}"]'), tuple(range(axes)))
    if name in UNDER:
        axes = next(len(s.axes) for h in f.handed for s, n in h.found.items() if n == of)
        return Leaf(_unpacked(f, f"sum_{of}", f'factors["sum {of}"]'), tuple(range(axes)))
    if name in FIRST_ROW:
        _, (which, plate) = made_of(name)
        return Leaf(_unpacked(f, name, f'prepared["{KINDS}"]["{which}"].first[{plate}]'), (0,), integer=True)
    if name in AT:  # points that all elements share, where no cloud is at hand
        return Leaf(_unpacked(f, name, f'statistics["points of {of}"][0]'), (0,))
    code = _unpacked(f, name, f'prepared["{stored(name)}"]')
    return _of_data(f.plan, name, of, code)


def _unpacked(f: Function, name: str, stored: str) -> str:
    """The variable of the module that holds what is stored."""
    code = f.emitter.namer.of(name)
    f.unpacked.setdefault(code, f"{code} = {stored}")
    return code


def _of_data(plan: Plan, name: str, of: str, code: str) -> Leaf:
    """The array of what data tell before the fit, `of` a variable, a block or a ragged plate."""
    model = plan.joint.model
    if name in PRESENT:
        plates, _ = flat_axes(model.variable(of))
        event = plan.presence_axes(model.variable(of))
        return Leaf(code, (*range(plates, plates + event), *plates_last(plates)))
    if name in REFERENCE:
        plane = next((p for p in plan.planes if p.param == of), None)
        if plane is None and of in of_one_number(plan.shifts):
            return Leaf(code, ())
        return Leaf(code, tuple(range(len(plane.slots if plane else model.variable(of).domain.dims))))
    if name in BEYOND or name in MIXING:
        return Leaf(code, (0, 1))
    if name in CONFIGURED:
        return configured_leaf(plan, of, code)
    if among(name, (UNSEEN, RAW)):
        return Leaf(code, stored_order(model.variable(of)))
    if among(name, (PATTERN, FREE)):
        block = next(b for b in plan.elimination.blocks if b.name == of)
        return Leaf(code, plates_last(len(block.home)), integer=True)
    return Leaf(code, (0,), integer=name not in COUNT)  # of a ragged plate's rows and elements


def configured_leaf(plan: Plan, latent: str, code: str) -> Leaf:
    """How the states of a latent's elements in each configuration are stored."""
    assert plan.joint.configurations is not None
    v, depth = plan.joint.model.variable(latent), plan.joint.configurations.inner(latent)
    ragged = depth > 0 and isinstance(v.plates[-1].size, m.Ragged)
    inner = 1 if ragged else len(home_of(v)) - depth
    return Leaf(code, tuple(range(1 + inner)), integer=True)


def _depth(table: object) -> int:
    return 1 + _depth(table[0]) if isinstance(table, tuple) else 0
