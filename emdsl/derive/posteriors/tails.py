"""A latent that is read by nothing but conditions on where it lies: its density is integrated over its interval.

    integral over lo < t < hi of f(t | a) dt  =  S(lo | a) - S(hi | a),      S(v | a) = P(t > v | a)

So the latent is gone, and what is left is a factor of all else: `log S = -rate lo` of a censored time whose rate holds
a frailty is what a Gamma takes up. In a row in which it was seen itself its density at that value is left.
Conditions may stand in branches that discrete latents choose, and their ends may hold parameters and other latents.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr
from emdsl.derive.joint.element import Tensors
from emdsl.derive.joint.factors import Factor, LogJoint, Told
from emdsl.derive.joint.plates import home_of
from emdsl.derive.joint.records import function_of
from emdsl.derive.joint.sides import KNOWN, LATENT
from emdsl.derive.joint.spikes import is_point_mass, leaves
from emdsl.derive.joint.terms import opened, terms
from emdsl.derive.joint.truncation import narrower
from emdsl.derive.posteriors.block import place
from emdsl.derive.posteriors.cases import pieces_of
from emdsl.derive.posteriors.cuts import Cut, cut_of
from emdsl.derive.posteriors.intervals import jumps
from emdsl.derive.posteriors.tail_pieces import Branch, Neighbours, by_support
from emdsl.errors import ModelError
from emdsl.language import model as m
from emdsl.language.bounds import is_cut


def closed(joint: LogJoint, drawn: Collection[str] = ()) -> LogJoint:
    """The joint without the latents of which only where they lie is asked, and whose mass there is known, as its model
    says: all of these, those that are no Gaussians, or none.

    What is drawn stays, also where its own conditional is asked for and all others are known or integrated out.
    """
    if joint.model.tails not in ("closed", "needed"):
        return joint
    names = [n for n in candidates(joint) if n not in drawn]
    if joint.model.tails == "needed":
        names = [n for n in names if not gaussian(joint, n)]
    return without(joint, names) or joint


def candidates(joint: LogJoint) -> tuple[str, ...]:
    """The latents of one number that nothing reads but their own densities and comparisons."""
    named = {n for line in joint.model.infer for group in line.groups for n in group}
    spent = joint.discrete | joint.deterministic | set(joint.told) | named
    return tuple(v.name for v in joint.model.of_kind("latent") if v.name not in spent and _may_be(v, joint))


def _may_be(v: m.Variable, joint: LogJoint) -> bool:
    if not v.domain.interval or v.domain.dims or v.array or v.distribution is None:
        return False
    calls = [call for _, call in leaves(v.distribution)]
    if any(is_point_mass(c.family) or is_cut(v.domain, c) or narrower(c.family.x.domain, v.domain) for c in calls):
        return False
    holding, home = joint.holding.get(v.name, ()), home_of(v)
    others = [f for f in holding if f.about != v.name]
    if any(e.idx != home for f in holding if f not in others for e in _leaves(f.body, v.name)):
        return False  # its own density reads another element of it: a lag, a parent
    return any(jumps(f, v.name) for f in others) and all(jumps(f, v.name) for f in others)


def all_gaussian(joint: LogJoint, names: Sequence[str]) -> bool:
    """Whether the densities of all these latents are of degree two at most: cut, they have closed moments."""
    return all(of <= {"id", "square"} for n in names for of in _functions(joint, n))


def gaussian(joint: LogJoint, name: str) -> bool:
    """Whether the density of a latent is Gaussian in every branch."""
    return all("square" in of <= {"id", "square"} for of in _functions(joint, name))


def _functions(joint: LogJoint, name: str) -> Iterator[set[str | None]]:
    """What of a latent each part of its density holds."""
    for body in (f.body for f in joint.factors if f.about == name):
        products = (factors for _, factors, _ in opened(body, partial(_is, name)))
        held = (x.mul(*(e for e in factors if name in x.variables(e))) for factors in products)
        yield {function_of(e, next(_leaves(e, name))) for e in held if e != x.ONE}


def _is(name: str, other: str) -> str:
    return "V" if other == name else "R"


def _leaves(e: Expr, name: str) -> Iterator[El]:
    return (n for n in x.walk(e) if isinstance(n, El) and n.var == name)


def without(joint: LogJoint, names: Sequence[str]) -> LogJoint | None:
    """The joint in which those of these latents whose mass between two ends is known are integrated out; None where
    none is."""
    gone: list[str] = []
    for name in names:
        found = _integrated(joint, joint.model.variable(name))
        if found is not None:
            joint = found
            gone.append(name)
    apart = frozenset(gone)
    return replace(joint, tails=apart, deterministic=joint.deterministic | apart) if gone else None


def _integrated(joint: LogJoint, v: m.Variable) -> LogJoint | None:
    """A joint in which one latent is integrated out, and what is told of it; None where that has no closed form.

    A case that the data of a fit do not have says so alone.
    """
    tensors = Tensors(joint.model)
    tensors.tables.update(joint.tables)
    own = [f for f in joint.factors if f.about == v.name]
    conditions = [f for f in joint.holding[v.name] if f.about != v.name]
    neighbours: Neighbours = {}
    cuts = [_cut(f, joint, v, neighbours) for f in conditions]
    pieces = pieces_of([c for some in cuts if some is not None for c in some])
    if None in cuts or pieces is None or v.distribution is None:
        return None
    cases: dict[tuple[str, int], Expr] = {}
    out: list[Factor] = []
    first, second = list[Factor](), list[Factor]()
    for conds, call in leaves(v.distribution):
        branch = Branch(v, call, conds, tensors, neighbours)
        for piece in (q for p in pieces for q in by_support(p, call.family.x.domain, tensors)):
            if piece.says is None:
                first += branch.factors(piece, lambda b=branch, p=piece: b.moments(p)[0])  # type: ignore[misc]
                second += branch.factors(piece, lambda b=branch, p=piece: b.moments(p)[1])  # type: ignore[misc]
            if piece.anywhere:
                continue
            case = (v.name, len(cases))
            cases[case] = branch.known(piece)
            try:
                out += [branch.never(piece)] if case in joint.model.unreached else branch.factors(piece)
            except ModelError:
                return None
    at = joint.factors.index(own[0])
    rest = [f for f in joint.factors[at:] if f not in own and f not in conditions]
    factors = (*(f for f in joint.factors[:at] if f not in conditions), *out, *rest)
    told = {**joint.told, v.name: Told(branch.plates, (), (), tuple(first), tuple(second))}
    return replace(joint, factors=factors, told=told, tables=dict(tensors.tables), cases={**joint.cases, **cases})


def _cut(f: Factor, joint: LogJoint, v: m.Variable, neighbours: Neighbours) -> list[Cut] | None:
    """What each term of a condition says of a latent; None where one says more than where it lies."""
    home, out = home_of(v), list[Cut]()
    for t in terms(f, lambda n: LATENT.of(n) if n == v.name else KNOWN):
        placed = place(t, (v.name,), home, (), neighbours, joint.levels)
        if isinstance(placed, str) or not set(placed.ixs) <= {*home, *neighbours.values()}:
            return None
        cut = cut_of(placed, v.name)
        if cut is None or any(v.name in x.variables(e) for e in (cut.mask, cut.lower, cut.upper) if e is not None):
            return None
        out.append(cut)
    return out
