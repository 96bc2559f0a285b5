"""Moments of conjugate posteriors, by the arguments of their families: what the E-step reads of them.

The derivatives of the families' log-partitions (Bishop 2006, appendix B); a test holds each against its kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El
from emdsl.derive.algebra.made import MOMENT, made_of
from emdsl.derive.plan import Plan
from emdsl.derive.posteriors.block import Block
from emdsl.report import formula as f
from emdsl.report.formula import Formula
from emdsl.report.indices import Names
from emdsl.report.page import Say, Show
from emdsl.report.pieces import ONE, statistic
from emdsl.report.writer import Writer

Arguments = Mapping[str, Formula]


def psi(of: Formula) -> Formula:
    return f.Apply(f.Word("digamma"), (of,))


def log(of: Formula) -> Formula:
    return f.Apply(f.Word("log"), (of,))


MOMENTS: Mapping[str, Mapping[str, Callable[[Arguments], Formula]]] = {
    "Gamma": {
        "id": lambda a: f.Over(a["shape"], a["rate"]),
        "log": lambda a: f.less(psi(a["shape"]), log(a["rate"])),
        "recip": lambda a: f.Over(a["rate"], f.less(a["shape"], ONE)),
        "square": lambda a: f.Over(
            f.times(a["shape"], f.plus(a["shape"], ONE)), f.Raised(a["rate"], f.Number("2"))
        ),
    },
    "InverseGamma": {
        "id": lambda a: f.Over(a["scale"], f.less(a["shape"], ONE)),
        "log": lambda a: f.less(log(a["scale"]), psi(a["shape"])),
        "recip": lambda a: f.Over(a["shape"], a["scale"]),
    },
    "Beta": {
        "id": lambda a: f.Over(a["a"], f.plus(a["a"], a["b"])),
        "log": lambda a: f.less(psi(a["a"]), psi(f.plus(a["a"], a["b"]))),
        "log1m": lambda a: f.less(psi(a["b"]), psi(f.plus(a["a"], a["b"]))),
    },
    "Normal": {
        "square": lambda a: f.plus(f.Raised(a["mean"], f.Number("2")), f.Over(ONE, a["precision"])),
        "exp": lambda a: f.Apply(
            f.Word("exp"), (f.plus(a["mean"], f.Over(ONE, f.times(f.Number("2"), a["precision"]))),)
        ),
    },
    "Dirichlet": {
        "id": lambda a: f.Over(a["concentration"], a["total"]),
        "log": lambda a: f.less(psi(a["concentration"]), psi(a["total"])),
    },
}  # fmt: skip


def moment_lines(plan: Plan, block: Block, t: Writer, names: Names) -> Iterator[Say | Show]:
    """The expectations under q of this block that other steps read, as the family's arguments give them."""
    assert block.record is not None
    known = MOMENTS.get(block.record.name, {})
    read = read_of(plan, block)
    told = [kind for kind in block.record.moments if kind in read and kind in known]
    if not told or block.cuts:
        yield Say("Its other moments and its log-normaliser are the family's.")
        return
    latent = t.of(El(block.name, (*block.home, *block.own)), names)
    gates = t.gates(block, {}, names)
    arguments = _arguments(block, latent, gates, t, names)
    yield Say("Its log-normaliser A is the family's, and its moments are")
    for kind in told:
        mean = f.Mean(statistic(kind, latent), f.Listed(tuple(gates)) if gates else None)
        yield Show(f.Relation("=", mean, known[kind](arguments)))


def read_of(plan: Plan, block: Block) -> set[str]:
    """Which functions of the latent anything takes the expectation of."""
    held = [e for s in plan.expected.statistics for e in s.factors]
    held += [e for b in plan.elimination.blocks for term in b.terms for e in term.factors]
    held += [e for mixed in plan.expected.mixed for e in mixed.term.factors]
    moments = (made_of(n)[1] for e in held for n in x.variables(e) if n in MOMENT)
    return {kind for latent, kind in moments if latent == block.name}


def _arguments(block: Block, latent: Formula, gates: Sequence[Formula], t: Writer, names: Names) -> Arguments:
    """The arguments of q as the lines before call them; of a simplex the sum of all, too."""
    assert block.record is not None
    of = f.given(latent, gates)
    out: dict[str, Formula] = {name: f.Apply(f.Word(name), (of,)) for name, *_ in block.record.arguments}
    out["mean"] = f.Mean(latent, f.Listed(tuple(gates)) if gates else None)
    if block.own:
        other = x.fresh(block.own[-1].dim)
        inner = t.letters.extend(names, (other,))
        there = t.of(El(block.name, (*block.home, *block.own[:-1], other)), inner)
        for name, *_ in block.record.arguments:
            out["total"] = t.big((other,), (), f.Apply(f.Word(name), (f.given(there, gates),)), inner)
    return out
