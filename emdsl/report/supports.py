"""Where densities are not 0: said in a sentence, instead of `log([x ≥ 0])` among the terms of a log joint.

Only what every state of the latents says alike: the support of one branch tells which branch holds, and stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, product

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Idx, Ix
from emdsl.derive.algebra.made import PRESENT
from emdsl.derive.joint.factors import Factor
from emdsl.derive.joint.terms import Term
from emdsl.derive.plan import Plan

ENDS = ("ge", "gt", "le", "lt")


@dataclass(frozen=True)
class Support:
    """Where data are `given` (conditions that hold), one more condition holds: elsewhere their density is 0."""

    given: frozenset[Expr]
    holds: Expr


@dataclass(frozen=True)
class Ends:
    """What is looked for among terms: `log([x > 0])` that holds no `free` name, the names that a fit or a posterior is
    about: what is compared with these is no mere support. `alike`: conditions that stand in each state of a latent."""

    free: frozenset[str]
    alike: frozenset[Expr] = frozenset()

    def said(self, e: Expr, gates: Sequence[x.Sel], masks: Sequence[Expr] = ()) -> Expr | None:
        """The condition of a term `log([x ≥ 0])` that holds for every state of its gates; None for any other term."""
        condition, states = _asked(e, self.free), {g.at for g in gates}
        everywhere = all(isinstance(i, Ix) for i in states) and not any(states & {*x.free(e)} for e in masks)
        return condition if everywhere or condition in self.alike else None


def _asked(e: Expr, free: frozenset[str]) -> Expr | None:
    match e:
        case x.Fn("log", (x.Fn(name) as condition,)) if name in ENDS and not x.variables(condition) & free:
            return condition
    return None


def ends_of(plan: Plan) -> Ends:
    """What is a matter of data alone."""
    model = plan.joint.model
    free = frozenset(v.name for v in model.variables if v.kind in ("latent", "param"))
    states = {v.name: 2 if v.domain.kind == "bool" else v.domain.levels for v in model.of_kind("latent")}
    asked: dict[Expr, dict[int, list[Expr]]] = {}  # of a discrete latent, in each of its states
    for factor in plan.joint.factors:
        for g in (g for g in factor.gates if isinstance(g.of, El)):
            own = asked.setdefault(g.of, {})
            for k in _states(g, factor):
                own.setdefault(k, []).extend(_unwrapped(t, factor) for t in x.terms_of(factor.body))
    alike = set()
    for of, by_state in asked.items():
        if isinstance(of, El) and str(len(by_state)) == str(states.get(of.var)):
            found = (_asked(t, free) for t in chain(*by_state.values()))
            alike |= {c for c in found if c is not None and all(_holds(c, own) for own in by_state.values())}
    return Ends(free, frozenset(alike))


def _states(g: x.Sel, factor: Factor) -> list[int]:
    """The states in which a gate and the masks beside it are open, of as many as a number says."""
    if not isinstance(i := g.at, Ix):
        return [g.at] if isinstance(g.at, int) else []
    return [k for k in range(int(i.dim) if i.dim.isdigit() else 0)
            if all(x.substitute(e, {i: k}) != x.ZERO for e in factor.masks)]  # fmt: skip


def _holds(condition: Expr, terms: Sequence[Expr]) -> bool:
    """Whether log densities are so that elsewhere there is none: `log([y = b])` of a positive b says that y > 0."""
    to = {e.args[0]: e.args[1] for t in terms if (e := _point(t)) is not None}
    match there := x.rebuild(condition, to.get):
        case x.Fn("gt" | "ge", (a, x.Num(0))) if there != condition and x.positive(a):
            return True
    return there == x.ONE or x.Fn("log", (condition,)) in terms


def _point(t: Expr) -> x.Fn | None:
    match t:
        case x.Fn("log", (x.Fn("eq", (El(), _)) as e,)):
            return e
    return None


def _unwrapped(t: Expr, factor: Factor) -> Expr:
    """What a choice by the factor's own masks comes to."""
    while isinstance(t, x.Where) and {*x.factors_of(t.cond)} <= {*factor.masks}:
        t = t.then
    return t


def _given(factor: Factor) -> frozenset[Expr]:
    return frozenset(e for e in factor.masks if not x.variables(e) <= {n for n in x.variables(e) if n in PRESENT})


def supports(plan: Plan) -> tuple[Support, ...]:
    """What log joint terms `[given] log([holds])` say of data, whatever the latents are."""
    ends = ends_of(plan)
    return tuple({s: None for factor in plan.joint.factors for s in _own(factor, ends)})


def _own(factor: Factor, ends: Ends) -> Iterator[Support]:
    given = _given(factor)
    conditions = (ends.said(_unwrapped(t, factor), factor.gates, factor.masks) for t in x.terms_of(factor.body))
    yield from (Support(given, c) for c in conditions if c is not None and not _of_unknown(given, ends))


def _of_unknown(given: frozenset[Expr], ends: Ends) -> bool:
    return any(x.variables(e) & ends.free for e in given)


def implied(held: Sequence[Expr], known: Sequence[Support]) -> set[Expr]:
    """What holds wherever data have any density and the conditions `held` do: beside `[a ≠ b]`, say, `[a > 0]`."""
    out: set[Expr] = set()
    for one, p in product(known, held):
        mine, theirs = x.free(one.holds), x.free(p)
        if [i.dim for i in mine] == [i.dim for i in theirs]:
            to: dict[Ix, Idx] = dict(zip(mine, theirs, strict=True))
            if {x.substitute(e, to) for e in one.given} <= {*held}:
                out.add(x.substitute(one.holds, to))
    return out


def apart(factor: Factor, ends: Ends) -> tuple[Expr, list[Support]]:
    """A factor's log density without its ends, and these: of a latent's states as conditions on the latent."""
    terms, given = x.terms_of(factor.body), _given(factor)
    inner = terms if _of_unknown(given, ends) else tuple(_unwrapped(t, factor) for t in terms)
    conditions = [ends.said(t, factor.gates, factor.masks) for t in inner]
    body = x.add(*(t for t, c in zip(terms, conditions, strict=True) if c is None))
    states = {g.at: g.of for g in factor.gates if isinstance(g.at, Ix)}
    return body, [Support(given, _of_latents(c, states)) for c in conditions if c is not None]


def left_out(t: Term, ends: Ends) -> bool:
    """Whether a term of an opened log joint is a support, whatever else is asked whether it is seen."""
    own = [f for f in t.factors if not (isinstance(f, El) and f.var in PRESENT)]
    return len(own) == 1 and ends.said(own[0], t.gates) is not None


def _of_latents(condition: Expr, states: dict[Ix, Expr]) -> Expr:
    """`k < L` of the state k of a latent, said of the latent."""
    used: dict[Ix, Idx] = {i: x.DataIx(of) for i, of in states.items() if isinstance(of, El)}
    return x.substitute(condition, used)
