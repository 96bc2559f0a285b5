"""A latent that is read by nothing but conditions on where it lies: its density is integrated over its interval.

    integral over lo < t < hi of f(t | a) dt  =  S(lo | a) - S(hi | a),      S(v | a) = P(t > v | a)

So the latent is gone, and what is left is a factor of all else: `log S = -rate lo` of a censored time whose rate holds
a frailty is what a Gamma takes up. In a row in which it was seen itself its density at that value is left.
Conditions may stand in branches that discrete latents choose, and their ends may hold parameters and other latents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Idx, Ix
from emdsl.derive.algebra.made import PRESENT
from emdsl.derive.joint.element import Tensors
from emdsl.derive.joint.ends import guarded
from emdsl.derive.joint.factors import Factor, LogJoint
from emdsl.derive.joint.joint import lifted
from emdsl.derive.joint.plates import home_of
from emdsl.derive.joint.records import function_of
from emdsl.derive.joint.scope import Closure, Scope
from emdsl.derive.joint.sides import KNOWN, LATENT
from emdsl.derive.joint.spikes import is_point_mass, leaves
from emdsl.derive.joint.terms import opened, terms
from emdsl.derive.joint.truncation import limits, log_mass, narrower
from emdsl.derive.posteriors.block import place
from emdsl.derive.posteriors.cases import Piece, pieces_of
from emdsl.derive.posteriors.cuts import Cut, cut_of
from emdsl.derive.posteriors.intervals import jumps
from emdsl.errors import ModelError
from emdsl.families.tails import tails
from emdsl.language import model as m
from emdsl.language.bounds import is_cut

Neighbours = dict[tuple[str, tuple[Idx, ...]], Ix]


def closed(joint: LogJoint) -> LogJoint:
    """The joint without the latents of which only where they lie is asked, and whose mass there is known."""
    return without(joint, candidates(joint)) or joint


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
    others = [f for f in joint.holding.get(v.name, ()) if f.about != v.name]
    return any(jumps(f, v.name) for f in others) and all(jumps(f, v.name) for f in others)


def all_gaussian(joint: LogJoint, names: Sequence[str]) -> bool:
    """Whether the densities of all these latents are Gaussian: cut, they have closed moments."""
    return all(_quadratic(f.body, n) for n in names for f in joint.factors if f.about == n)


def _quadratic(body: Expr, name: str) -> bool:
    held = (
        x.mul(*(e for e in factors if name in x.variables(e))) for _, factors, _ in opened(body, partial(_is, name))
    )
    return all(function_of(e, next(_leaves(e, name))) in ("id", "square") for e in held if e != x.ONE)


def _is(name: str, other: str) -> str:
    return "V" if other == name else "R"


def _leaves(e: Expr, name: str) -> Iterator[El]:
    return (n for n in x.walk(e) if isinstance(n, El) and n.var == name)


def without(joint: LogJoint, names: Sequence[str]) -> LogJoint | None:
    """The joint in which those of these latents whose mass between two ends is known are integrated out; None where
    none is."""
    gone: list[str] = []
    for name in names:
        cases: dict[tuple[str, int], Expr] = {}
        found = _integrated(joint, joint.model.variable(name), cases)
        if found is not None:
            joint = replace(joint, factors=found, cases={**joint.cases, **cases})
            gone.append(name)
    apart = frozenset(gone)
    return replace(joint, tails=apart, deterministic=joint.deterministic | apart) if gone else None


def _integrated(joint: LogJoint, v: m.Variable, cases: dict[tuple[str, int], Expr]) -> tuple[Factor, ...] | None:
    """The factors of a joint in which one latent is integrated out; None where that has no closed form.

    `cases` takes on which conditions on data each of them stands. One that the data of a fit do not have says so alone.
    """
    tensors = Tensors(joint.model)
    scope, plates, masks = tensors.enter(v.plates)
    own = [f for f in joint.factors if f.about == v.name]
    conditions = [f for f in joint.holding[v.name] if f.about != v.name]
    neighbours: Neighbours = {}
    cuts = [_cut(f, joint, v, neighbours) for f in conditions]
    pieces = pieces_of([c for some in cuts if some is not None for c in some])
    if None in cuts or pieces is None or v.distribution is None:
        return None
    out: list[Factor] = []
    for conds, call in leaves(v.distribution):
        own_domain = call.family.x.domain
        for piece in (q for p in pieces for q in _by_support(p, own_domain, tensors)):
            case = (v.name, len(cases))
            cases[case] = known = x.mul(*(c for c in (*masks, *piece.masks) if _of_data(c, tensors)))
            if case in joint.model.unreached:
                there = tuple(c for c in piece.masks if isinstance(c, El) and c.var in PRESENT)
                out.append(Factor(v.name, "observed", (), there, x.fn("log", x.fn("not", known)), plates, call.span))
                continue
            used = {i for e in (*piece.masks, *piece.numbers) for i in x.free(e)}
            tensors.begin()
            tensors.gates.update({key: i for key, i in neighbours.items() if i in used})
            branch = tuple(tensors.condition(c, positive, scope) for c, positive in conds)
            try:
                body = _body(piece, v, plates, call, tensors, scope)
            except ModelError:
                return None
            base = Factor(v.name, "observed", (), (*masks, *branch, *piece.masks), body, plates, call.span)
            out += [_guarded(guarded(g, tensors), piece, own_domain, tensors) for g in lifted(base, tensors)]
    at = joint.factors.index(own[0])
    rest = [f for f in joint.factors[at:] if f not in own and f not in conditions]
    return (*(f for f in joint.factors[:at] if f not in conditions), *out, *rest)


def _by_support(piece: Piece, own: m.Domain, tensors: Tensors) -> list[Piece]:
    """A piece by where its ends lie, as data tell: in order or not, inside a support that starts at 0 or not."""
    low, high = piece.low, piece.high
    if piece.says is not None:
        return [piece]
    if piece.outside and low is not None and _may_be_outside(low, own, tensors):
        here = x.fn("gt", low, x.ZERO)
        beyond = Piece((*piece.masks, x.fn("not", here)), low=high)
        return [replace(piece, masks=(*piece.masks, here)), *_by_support(beyond, own, tensors)]
    if piece.outside:
        return [piece]
    least: list[tuple[Expr, Expr]] = [
        (e, x.ZERO) for e in (piece.point, high) if e is not None and _may_be_outside(e, own, tensors)
    ]
    apart = x.add(high, x.neg(low)) if low is not None and high is not None else x.ONE
    if (
        low is not None
        and high is not None
        and not x.positive(apart)
        and _of_data(low, tensors)
        and _of_data(high, tensors)
    ):
        least.append((high, low))
    within = replace(piece, masks=(*piece.masks, *(x.fn("gt", *pair) for pair in least)))
    nothing = [Piece(piece.masks, says=x.fn("log", x.fn("gt", *pair))) for pair in least]
    if low is None or not _may_be_outside(low, own, tensors):
        return [within, *nothing]
    here = x.fn("gt", low, x.ZERO)
    out = [replace(within, masks=(*within.masks, here))]
    if high is not None:
        out.append(replace(within, low=None, masks=(*within.masks, x.fn("not", here))))
    return [*out, *nothing]


def _of_data(e: Expr, tensors: Tensors) -> bool:
    """Whether data alone decide, or whether they are there."""
    return bool(x.variables(e)) and all(n in PRESENT or tensors.is_data(n) for n in x.variables(e))


def _may_be_exchanged(low: Expr, high: Expr, tensors: Tensors) -> bool:
    return not x.positive(x.add(high, x.neg(low))) and _of_data(low, tensors) and _of_data(high, tensors)


def _may_be_outside(e: Expr, own: m.Domain, tensors: Tensors) -> bool:
    return own.kind in ("positive", "unit") and _of_data(e, tensors) and not x.positive(e)


def _guarded(f: Factor, piece: Piece, own: m.Domain, tensors: Tensors) -> Factor:
    """The factor in which ends are others, inside of the support and in order, where it does not count: the log of no
    mass, and slopes at the end of a support, are no numbers."""
    if piece.says is not None:
        return f
    here = x.mul(*(c for c in f.masks if _of_data(c, tensors)))
    low, high = piece.low, piece.high
    both = low is not None and high is not None and _may_be_exchanged(low, high, tensors)
    instead: dict[Expr, Expr] = {}
    for k, e in enumerate((low, piece.point, high), 2):
        if e is not None and (_may_be_outside(e, own, tensors) or (both and _of_data(e, tensors))):
            there = x.Where(here, e, x.num(Fraction(k, 6)))
            instead |= {e: there, x.fn("max", e, x.ZERO): there}
    return replace(f, body=x.rebuild(f.body, instead.get)) if instead else f


def _body(
    piece: Piece, v: m.Variable, home: tuple[Ix, ...], call: m.FamilyCall, tensors: Tensors, scope: Scope
) -> Expr:
    """What a piece has of the density of one branch. Raises ModelError where the mass in it is not known."""
    inner = tensors.family_scope(v, home, (), call, scope)
    name, own = call.family.x.name, call.family.x.domain

    def at(body: m.Expr) -> Callable[[Expr], Expr]:
        def element(value: Expr) -> Expr:
            bound = {**inner.bindings, name: Closure(None, None, ready=value)}
            return tensors.element(body, (), Scope(inner.loops, bound, inner.sizes, inner.around))

        return element

    density = at(call.family.signatures[call.signature].log_density)
    if piece.says is not None:
        return piece.says
    if piece.point is not None:
        ends = zip(("gt", "lt"), limits(own, lambda e: tensors.element(e, (), inner)), strict=True)
        cut = [x.fn(op, piece.point, end) for op, end in ends if end is not None]
        here = (*piece.masks, x.fn("gt", piece.point, x.ZERO)) if x.positive(piece.point) else piece.masks
        return x.add(density(piece.point), *(x.fn("log", c) for c in cut if c not in here))
    known = tails(call.family, call.signature)
    return log_mass(density, known and (at(known[0]), at(known[1])), own, piece.low, piece.high, call, piece.outside)


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
