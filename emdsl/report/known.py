"""What a plan tells a reader of its arrays: which are symmetric, sum to one, say an element or a level."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import combinations
from math import isfinite

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Idx, Ix
from emdsl.derive.algebra.made import CLIQUE, COV, FIRST, PAIR, PROBABILITIES, STATISTIC, VARIANCE, Q, among
from emdsl.derive.joint.plates import home_of
from emdsl.derive.plan import Plan
from emdsl.derive.updates.statistics import Statistic
from emdsl.language import model as m
from emdsl.report.bounds import Whole
from emdsl.report.folded import Meaning
from emdsl.report.marginals import summable
from emdsl.report.supports import Support, supports
from emdsl.report.together import Together

SIMPLE = 12  # denominators that literal entries are read as
SHORT = 4  # literal rows and sums up to this length are written out

Pairs = Mapping[str, tuple[int, int]]  # arrays that are symmetric in two of their axes


@dataclass(frozen=True)
class Known:
    """Arrays symmetric in two of their axes; posteriors (`q:z`) with how many places of states sum to one.

    `complete`: nothing is missing, as textbooks have it.
    """

    pairs: Pairs
    states: Mapping[str, int]
    complete: bool = False
    indices: frozenset[str] = frozenset()  # data that say which element of a plate is meant
    binary: Mapping[str, tuple[bool, ...]] = field(default_factory=dict)  # probabilities: which states are of two
    levels: frozenset[str] = frozenset()  # data that are one of the levels of their kind
    places: Mapping[str, tuple[tuple[int, ...], ...]] = field(default_factory=dict)  # states of probabilities
    constants: Mapping[str, Fraction | float] = field(default_factory=dict)  # literal tables of one number
    literal: Mapping[str, int] = field(default_factory=dict)  # probabilities of latents with so many states
    whole: Whole = field(default_factory=dict)
    tables: Mapping[str, tuple[object, ...]] = field(default_factory=dict)  # literal tables
    meanings: tuple[Meaning, ...] = ()  # what `let`s stand for, the longest first
    together: Mapping[str, Together] = field(
        default_factory=dict
    )  # statistics that are parts of one mean, by the first
    weighted: bool = True  # rows have sample weights; without them all are 1
    empty: frozenset[El] = frozenset()  # probabilities and statistics of states that have no mass
    drawn: frozenset[str] = frozenset()  # latents of which there are draws
    supports: tuple[Support, ...] = ()  # conditions that hold wherever data have any density


def known(plan: Plan) -> Known:
    states: dict[str, int] = {}
    for b in plan.elimination.blocks:
        if b.states and not b.neighbours:
            states |= {kind.of(b.name): len(b.states) for kind in (Q, FIRST.at(0))}  # the second of a chain's start
        elif not b.states and len(b.gates) == 1:
            states[Q.of(b.name)] = 1  # the probability of its one gate
        states |= {CLIQUE.at(n).of(b.name): len(c.states) for n, c in enumerate(b.network) if not c.masks}
    kinds = plan.joint.model.of_kind
    indices = frozenset(v.name for v in kinds("given") if v.domain.kind == "index")
    observed = (*kinds("given"), *kinds("observed"))
    levels = frozenset(v.name for v in observed if v.domain.kind in ("index", "category"))
    own = [b for b in plan.elimination.blocks if any(s.dim == "2" for s in b.states) and not b.neighbours]
    binary = {Q.of(b.name): tuple(s.dim == "2" for s in b.states) for b in own if not b.network}
    for b in (b for b in own if len(b.states) == 1):
        binary |= {CLIQUE.at(n).of(b.name): (True,) for n in range(len(b.network))}
        binary |= {PAIR.of(b.name): (True, True)} if b.chain is not None and b.chain.depth == 1 else {}
    return Known(
        symmetric(plan), states, indices=indices, binary=binary, levels=levels, places=summable(plan),
        literal={Q.of(b.name): int(b.states[0].dim) for b in plan.elimination.blocks
                 if len(b.states) == 1 and b.states[0].dim.isdigit() and not b.neighbours},
        empty=empty(plan), supports=supports(plan), weighted=plan.weighted is not None,
        whole={v.name: _levels(v) for v in observed if v.domain.discrete},
        tables=plan.joint.tables, drawn=frozenset(plan.drawn),
        constants={n: exact(next(iter(v))).value for n, t in plan.joint.tables.items() if len(v := _entries(t)) == 1},
    )  # fmt: skip


def empty(plan: Plan) -> frozenset[El]:
    """The elements that Q holds beside log 0, with the states of which they are; other places are indices."""
    return frozenset(e for t in plan.expected.terms for e in _beside_log_0(t.body, (), {}))


def _beside_log_0(e: Expr, beside: tuple[El, ...], at: dict[Ix, Idx]) -> Iterator[El]:
    """`alive (log before + log phi) S[before, alive]` holds `S[0, 1]`: where a state is a factor it is 1."""
    match e:
        case x.Fn("log", (x.Val(i),)) if i not in at:
            yield from (El(p.var, tuple((at | {i: 0}).get(j, j) if isinstance(j, Ix) else j for j in p.idx), p.sort)
                        for p in beside if i in p.idx)  # fmt: skip
        case x.Add(terms):
            for t in terms:
                yield from _beside_log_0(t, beside, at)
        case x.Mul(factors):
            own = tuple(p for p in factors if isinstance(p, El) and among(p.var, (STATISTIC, *PROBABILITIES)))
            ones: dict[Ix, Idx] = {p.ix: 1 for p in factors if isinstance(p, x.Val)}
            others = [p for p in factors if p not in own and not isinstance(p, x.Val | x.Num)]
            if len(others) == 1 and all(i.dim == "2" for i in ones):
                yield from _beside_log_0(others[0], (*beside, *own), {**at, **ones})


def is_empty(e: El, facts: Known) -> bool:
    """Whether an element is of a state that has no mass."""
    return any(e.var == p.var and all(a == b for a, b in zip(e.idx, p.idx, strict=True) if not isinstance(b, Ix))
               for p in facts.empty)  # fmt: skip


def _levels(v: m.Variable) -> int | None:
    """How many values whole numbers take, where the model says so by a number."""
    levels, most = str(v.domain.levels), v.domain.ends[1]
    return int(levels) if levels.isdigit() else int(most) + 1 if isfinite(most) else None


def entry_of(e: El, facts: Known) -> Expr | None:
    """The number at an entry of a literal table; of a short row its numbers, each at its place."""
    value: object = facts.tables.get(e.var)
    if not e.idx:
        return None
    *before, last = e.idx
    for i in before:
        if not isinstance(i, int) or not isinstance(value, tuple):
            return None
        value = value[i]
    if not isinstance(value, tuple) or not all(isinstance(v, int | float) for v in value):
        return None
    if isinstance(last, int):
        return exact(value[last])
    row = before and isinstance(last, Ix) and len(value) <= SHORT
    return x.add(*(x.mul(exact(v), x.delta(last, k)) for k, v in enumerate(value))) if row else None


def exact(v: Fraction | float) -> x.Num:
    """A number as it is, or the simple fraction that no decimals say: a third."""
    near = Fraction(v).limit_denominator(SIMPLE) if isfinite(v) else Fraction(0)
    return x.Num(near if float(near) == v and any(near.denominator % p == 0 for p in (3, 7, 11)) else v)


def _entries(table: object) -> set[float]:
    """The numbers that stand in a nested literal list."""
    if isinstance(table, tuple):
        return {v for part in table for v in _entries(part)}
    return {float(table)} if isinstance(table, int | float | Fraction) else {0.0, 1.0}


def symmetric(plan: Plan) -> Pairs:
    """Matrices by domain, and statistics whose definition is the same with two axes exchanged."""
    square = [v for v in plan.joint.model.variables if v.domain.symmetric]
    axes = {v.name: len(home_of(v)) + len(v.shape) - len(v.plates) for v in square}  # rows of ragged plates are one
    out = {name: (n - 2, n - 1) for name, n in axes.items()}
    sort = plan.expected.symmetry.sort
    out |= {n: (-2, -1) for n in plan.expected.symmetry.variables if n in COV}
    out |= dict.fromkeys(_variances(plan), (-2, -1))

    def step(e: Expr) -> Expr | None:
        return placed_in_order(e, out[e.var]) if isinstance(e, El) and e.var in out else None

    def ordered(e: Expr) -> Expr:
        return x.rebuild(
            sort(e), lambda n: placed_in_order(n, out[n.var]) if isinstance(n, El) and n.var in out else None
        )

    def written(factors: Sequence[Expr]) -> list[str]:
        return sorted(repr(ordered(f)) for f in factors)

    for s in plan.expected.statistics:
        for a in range(len(s.axes)):
            for b in range(a):
                turned = ([x.substitute(f, to) for f in s.factors] for to in _turns(s, a, b))
                if any(written(s.factors) == written(factors) for factors in turned):
                    out[STATISTIC.of(s.name)] = (b, a)
    return out


def _turns(s: Statistic, a: int, b: int) -> Iterator[dict[Ix, Idx]]:
    """Two axes exchanged, and with them two of the indices that are summed over: `sum_pq A[d, p] S[p, q] A[e, q]`."""
    swap: dict[Ix, Idx] = {s.axes[a]: s.axes[b], s.axes[b]: s.axes[a]}
    yield swap
    inner = [i for i in s.ixs if i not in s.axes]
    yield from (swap | {p: q, q: p} for p, q in combinations(inner, 2) if p.dim == q.dim)


def _variances(plan: Plan) -> set[str]:
    """The variances that are matrices, of Gaussians whose precision holds another latent."""
    homes = {b.name: len(b.gates) + len(b.home) for b in plan.elimination.blocks}
    held = (n for s in plan.expected.statistics for p in s.factors for n in x.walk(p) if isinstance(n, El))
    return {n.var for n in held if n.var in VARIANCE and len(n.idx) == homes[VARIANCE.named(n.var)] + 2}


def placed_in_order(e: El, pair: tuple[int, int]) -> El:
    a, b = pair
    places = list(e.idx)
    places[a], places[b] = sorted((places[a], places[b]), key=repr)
    return El(e.var, tuple(places), e.sort)
