"""The expected complete-data log-likelihood as a function of parameters and expected sufficient statistics.

    Q(theta) = sum over terms of coef * prod(functions of theta) * S,    S = E_q[ sum over data of the rest ]

A sufficient statistic is never written down by hand: it is what multiplies a function of parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import DataIx, El, Expr, Idx, Ix
from emdsl.derive.algebra.made import (
    AT,
    CLIQUE,
    COV,
    FEATURES,
    FIRST,
    MEAN,
    MOMENT,
    PAIR,
    PRESENT,
    PROBABILITIES,
    REFERENCE,
    STATISTIC,
    WEIGHT,
    Q,
    among,
    is_made,
    made_of,
    subject,
)
from emdsl.derive.joint.factors import Factor, LogJoint
from emdsl.derive.joint.sides import KNOWN, PARAMETER, classes
from emdsl.derive.joint.terms import Symmetry, Term, blocks_of, canonical_form, merge, symmetry_of
from emdsl.derive.joint.weights import weigh
from emdsl.derive.posteriors.averages import expectation
from emdsl.derive.posteriors.block import Block
from emdsl.derive.posteriors.blocks import Elimination, is_prior
from emdsl.errors import InternalError

Together = Mapping[str, Sequence[str]]  # the discrete latents whose states a block's probability is of, by its name


@dataclass(frozen=True)
class Statistic:
    """`S[axes] = sum of prod(factors)` over every other index of the factors and over `ixs`.

    Factors hold data, weights (`weight`), posterior probabilities (`q:block`) and moments (`E:latent:function`).
    `definition` is the same product before expectations were taken.
    """

    name: str
    axes: tuple[Ix, ...]
    factors: tuple[Expr, ...]
    ixs: tuple[Ix, ...]
    definition: tuple[Expr, ...] = ()


@dataclass(frozen=True)
class Mixed:
    """A term in which data and parameters do not come apart: its factors after expectation."""

    term: Term
    factor: Factor


@dataclass(frozen=True)
class Expected:
    """Q: its statistics, its terms (statistics appear as `El("S:name", ...)`), and what does not come apart."""

    statistics: tuple[Statistic, ...]
    terms: tuple[Term, ...]
    prior: tuple[Term, ...]
    mixed: tuple[Mixed, ...]
    symmetry: Symmetry


def expected(joint: LogJoint, elimination: Elimination, weighted: str | None) -> Expected:
    """Q and its statistics, for every term that holds a parameter."""
    shared = {AT.of(n): "" for c in joint.clouds if c.shared for n in c.latents}
    kinds = {**classes(joint), **shared}  # points that all elements share are constants beside the parameters
    symmetry = symmetry_of(joint)
    together = {b.name: b.latents for b in elimination.blocks if len(b.states) == len(b.latents)}
    together |= {b.name: given for b in elimination.blocks if (given := _given(b))}
    found: dict[tuple[object, ...], Statistic] = {}
    terms: list[Term] = []
    prior: list[Term] = []
    mixed: list[Mixed] = []
    for t, factor in elimination.terms:
        if not any(kinds.get(n) == PARAMETER for f in t.factors for n in x.variables(f)):
            continue
        if is_prior(t, factor, joint):
            prior.append(_multiplicity(t))
            continue
        under_q = expectation(t, elimination, joint)
        if isinstance(under_q, str):
            raise InternalError("statistics", under_q)  # a posterior has the moments of the statistics that found it
        for part in under_q:
            _collect(
                selectors(weigh(part, weighted, joint), joint, kinds),
                factor,
                kinds,
                mixed,
                terms,
                found,
                symmetry,
                joint,
                weighted,
                together,
            )
    return Expected(
        tuple(found.values()), tuple(merge(terms, symmetry)), tuple(merge(prior, symmetry)), tuple(mixed), symmetry
    )


def _collect(
    whole: Term, factor: Factor, kinds: Mapping[str, str], mixed: list[Mixed], terms: list[Term],
    found: dict[tuple[object, ...], Statistic], symmetry: Symmetry, joint: LogJoint, weighted: str | None,
    together: Together,
) -> None:  # fmt: skip
    """One averaged term: into the mixed ones, or as functions of parameters times a statistic."""
    if any(len(blocks_of(f, lambda n: _side(n, kinds))) > 1 for f in whole.factors):
        mixed.append(Mixed(whole, factor))
        return
    ours = tuple(f for f in whole.factors if _is_parameter(f, kinds))
    rest = tuple(f for f in whole.factors if f not in ours)
    if not rest and not any(i.dim == weighted for i in whole.ixs):
        terms.append(_multiplicity(Term(whole.coef, (), ours, whole.ixs)))
    else:
        terms.append(_with_statistic(whole, ours, rest, found, symmetry, together))


def _side(name: str, kinds: Mapping[str, str]) -> str:
    kind = kinds.get(name, KNOWN)
    return kind if kind in (PARAMETER, "") else KNOWN


def _is_parameter(f: Expr, kinds: Mapping[str, str]) -> bool:
    return any(kinds.get(n) == PARAMETER for n in x.variables(f))


def selectors(t: Term, joint: LogJoint, kinds: Mapping[str, str]) -> Term:
    """A parameter read through data becomes a selector and a dummy.

    `beta[group[n]] = sum_g [group[n] = g] beta[g]`; a position that moves with a sum inside the factor stays there.
    """
    found: dict[tuple[Expr, str], Ix] = {}

    def replace_index(e: Expr, outside: frozenset[Ix], beyond: frozenset[El]) -> Expr | None:
        if not isinstance(e, El) or kinds.get(e.var) != PARAMETER or not any(isinstance(i, DataIx) for i in e.idx):
            return None
        if not all(outside.issuperset(x.free(i.value)) for i in e.idx if isinstance(i, DataIx)):
            return None
        shape = joint.model.variable(e.var).shape
        idx: list[Idx] = []
        for i, size in zip(e.idx, shape, strict=True):
            if isinstance(i, DataIx):
                key = (_within(i.value, size) if e in beyond else i.value, str(size))
                if key not in found:
                    found[key] = x.fresh(str(size))
                idx.append(found[key])
            else:
                idx.append(i)
        return El(e.var, tuple(idx), e.sort)

    factors = []
    for f in t.factors:
        sides = blocks_of(f, lambda n: _side(n, kinds))
        if PARAMETER in sides and _only_indices(f, kinds):
            f = x.rebuild(f, partial(replace_index, outside=frozenset(x.free(f)), beyond=_in_branches(f)))
        factors.append(f)
    chosen = tuple(x.sel(value, ix) for (value, _), ix in found.items())
    return replace(t, factors=(*factors, *chosen), ixs=(*t.ixs, *found.values()))


def _in_branches(f: Expr) -> frozenset[El]:
    """Elements that stand in a branch: where it is not taken, their positions may lie outside of their arrays."""
    branches = (b for w in x.walk(f) if isinstance(w, x.Where) for b in (w.then, w.other))
    return frozenset(e for b in branches for e in x.walk(b) if isinstance(e, El))


def _within(position: Expr, size: object) -> Expr:
    """A position moved to the nearest that an axis has: one selector is 1 whatever branch is taken, and so one term."""
    last = x.add(x.extent(x.fresh(str(size))), x.num(-1))
    return x.fn("min", x.fn("max", position, x.ZERO), last)


def _only_indices(e: Expr, kinds: Mapping[str, str]) -> bool:
    """Whether data enters an expression of parameters through index positions alone."""
    match e:
        case El():
            return kinds.get(e.var) == PARAMETER
        case x.Val(ix):
            return ix.dim.isdigit()  # a state, not a row
        case x.Sel():
            return False
        case x.MatInv() | x.LogDet() | x.Sum():
            return _only_indices(e.body, kinds)
        case _:
            return all(_only_indices(c, kinds) for c in x.children(e))


def _multiplicity(t: Term) -> Term:
    """An index that nothing carries counts its length."""
    carried = {i for f in t.factors for i in x.free(f)}
    extra = tuple(x.extent(i) for i in t.ixs if i not in carried)
    if not extra:
        return t
    c, rest = x.split_number(x.mul(*extra))
    more = tuple(f for f in x.factors_of(rest) if f != x.ONE)
    return Term(t.coef * c, (), (*t.factors, *more), tuple(i for i in t.ixs if i in carried))


def _with_statistic(
    t: Term, ours: tuple[Expr, ...], rest: tuple[Expr, ...],
    found: dict[tuple[object, ...], Statistic], symmetry: Symmetry, together: Together,
) -> Term:  # fmt: skip
    """The term with everything but functions of parameters replaced by its statistic."""
    t = _multiplicity(t)
    rest = (*rest, *(f for f in t.factors if f not in ours and f not in rest))
    ours = (*ours, *(f for f in rest if isinstance(f, x.SizeN)))  # how long an axis is stands outside of sums
    rest, _ = drop_presence(tuple(f for f in rest if f not in ours))
    wanted = {i for f in ours for i in x.free(f)}
    if not rest:
        return Term(t.coef, (), ours, tuple(i for i in t.ixs if i in wanted))
    out = tuple(i for i in t.ixs if i in wanted and any(i in x.free(f) for f in rest))
    marks = tuple(El("out", (i,)) for i in out)
    inside = tuple(i for i in t.ixs if any(i in x.free(f) for f in rest))
    key, names = canonical_form((*rest, *marks), inside, symmetry)
    place = {names[i]: n for i, n in _as_declared(out, ours).items()}
    own = (names[i] for i in out)
    axes = tuple(sorted(own, key=lambda i: (place.get(i, len(place)), _rank(i, names, rest), i.name, i.dim)))
    if key not in found:
        to: dict[Ix, Idx] = dict(names)
        factors = tuple(x.substitute(f, to) for f in rest)
        used = {s.name for s in found.values()}
        name = readable_name(factors, used, axes, together)
        found[key] = Statistic(name, axes, factors, tuple(names[i] for i in inside))
    stat = found[key]
    back = {v: k for k, v in names.items()}
    statistic = El(STATISTIC.of(stat.name), tuple(back[i] for i in stat.axes))
    ixs = tuple(i for i in t.ixs if i in wanted)
    return Term(t.coef, (), (*ours, statistic), ixs)


def _given(b: Block) -> tuple[str, ...]:
    """The latents in whose states a block without states of its own is found: its probability is theirs."""
    of = [n.of for n in b.neighbours if n.at in b.gates]
    held = tuple(e.var for e in of if isinstance(e, El))
    return held if not b.states and len(held) == len(b.gates) else ()


def _as_declared(ixs: Sequence[Ix], ours: Sequence[Expr]) -> dict[Ix, int]:
    """Where indices stand at the parameter that has most of them."""
    held = [[i for i in n.idx if i in ixs] for f in ours for n in x.walk(f) if isinstance(n, El)]
    most = dict.fromkeys(i for i in max(held, key=len, default=[]) if isinstance(i, Ix))
    return {i: n for n, i in enumerate(most)}


def _rank(i: Ix, names: Mapping[Ix, Ix], rest: Sequence[Expr]) -> int:
    """Of indices that no parameter has states of latents come first, then what data point at, cells that were seen; the
    own axes of vectors and matrices are last, those of data before those of moments."""
    originals = {k for k, v in names.items() if v == i}
    states = [f for f in rest if isinstance(f, El) and among(f.var, PROBABILITIES)]
    if any(originals & set(f.idx) for f in states):
        return 0
    if any(isinstance(f, x.Sel) and f.at in originals for f in rest):
        return 1
    held = {f.var for f in rest if isinstance(f, El) and originals & set(f.idx)}
    if any(name in PRESENT for name in held):
        return 2
    return 4 if all(map(is_made, held)) else 3


def drop_presence(factors: tuple[Expr, ...]) -> tuple[tuple[Expr, ...], bool]:
    """A missing value is stored as 0, so a factor that vanishes with it needs no mask.

    A missing positive number is stored as 1e-60, which has a logarithm: no exponential of a latent may stand beside it,
    whose mean has no end where no data hold it.
    """
    steep = any(isinstance(e, x.Fn) and e.name == "exp" for f in factors for e in x.walk(f))
    vanishing = {e.var for f in factors for e in _vanishes_with(f) if not (steep and e.sort in ("positive", "unit"))}
    kept = tuple(
        f for f in factors if not (isinstance(f, El) and f.var in PRESENT and PRESENT.named(f.var) in vanishing)
    )
    return kept, len(kept) < len(factors)


def _vanishes_with(f: Expr) -> tuple[El, ...]:
    match f:
        case El():
            return (f,)
        case x.Pow(El() as e, x.Num(v)) if v > 0:
            return (e,)
    return ()


def readable_name(
    factors: Sequence[Expr], used: set[str], axes: Sequence[Ix] = (), together: Together | None = None
) -> str:
    """A readable name: what is summed, joined by underscores; squares and products repeat a name.

    Of discrete latents that are found `together` those whose states are told: the others add up to one.
    """
    parts: list[str] = []
    set_to: dict[Ix, Idx] = {f.a: f.b for f in factors if isinstance(f, x.Delta) and isinstance(f.a, Ix)}
    levels = {f.of.var for f in factors if isinstance(f, x.Sel) and isinstance(f.of, El) and f.at in axes}
    points = {
        i for f in factors if isinstance(f, El) and among(f.var, (*PROBABILITIES, MOMENT, MEAN, COV)) for i in f.idx
    }
    for n, f in enumerate(factors):
        beside = {*axes, *(i for k, p in enumerate(factors) if k != n for i in x.free(p))}
        match f:
            case El() if f.var in Q:
                idx = [set_to.get(i, i) if isinstance(i, Ix) else i for i in f.idx]
                if several := (together or {}).get(Q.named(f.var)):
                    of_each, rest = zip(several, idx, f.idx, strict=False), idx[len(several) :]
                    parts[:0] = [placed(a, [to, *rest]) for a, to, i in of_each if not isinstance(i, Ix) or i in beside]
                elif beside.issuperset(x.free(f)):  # otherwise it adds up to one
                    parts.insert(0, placed(Q.named(f.var), idx))
            case El() if f.var in PAIR or f.var in FIRST:
                latent, position = made_of(f.var)[1][0], FIRST.number(f.var) if f.var in FIRST else 1
                several = tuple((together or {}).get(latent, (latent,)))
                states = f.idx[: min(position + 1, 2) * len(several)]  # those before the element, then its own
                told = [
                    a
                    for a, i in zip((*several, *several) if position else several, states, strict=False)
                    if isinstance(i, int) or i in beside
                ]
                word = "first" if not position else "pair" if f.var in PAIR else f"pair_{position}"
                parts.insert(0, "_".join((*dict.fromkeys(told or several), word)))
            case El() if f.var in MEAN:
                parts.append(placed(MEAN.named(f.var), f.idx))
            case El() if f.var in COV:
                _, latents = made_of(f.var)
                names = "_".join(dict.fromkeys(n for n in latents if not n.isdigit()))
                parts.append(placed(f"cov_{names}", f.idx) if len(latents) == 2 else f"tie_{names}")
            case El() if f.var in CLIQUE:
                parts.insert(0, CLIQUE.named(f.var))
            case El() if f.var in MOMENT:
                _, (latent, kind) = made_of(f.var)
                whole = latent if kind == "id" else f"{kind.replace('^', '')}_{latent}"
                parts.append(placed(whole, f.idx))
            case El() if f.var == WEIGHT:
                pass
            case El() if f.var in PRESENT:
                parts += [] if PRESENT.named(f.var) in levels else [f"n_{PRESENT.named(f.var)}"]  # its level says it
            case El() if f.var in REFERENCE:
                parts.append(f"reference_{REFERENCE.named(f.var)}")
            case x.Pow(El() as e, x.Num(v)) if v == 2 and e.var in REFERENCE:
                parts.append(f"square_reference_{REFERENCE.named(e.var)}")
            case x.Pow(El() as e, x.Num(v)) if v == 2:
                of = subject(e.var) or e.var
                weighted = any(isinstance(p, El) and p.var in Q and Q.named(p.var) == of for p in factors)
                parts += [placed(of, e.idx)] * (1 if weighted else 2)  # at points, their probability says it once
            case x.Fn() if f.name in x.COMPARISONS:
                pass
            case x.Sel() if isinstance(f.at, Ix) and f.at not in axes and f.at in points:
                pass  # where a latent is read, which its own name tells
            case x.Sel():
                parts += sorted(n for n in x.variables(f.of) if not is_made(n))
            case El() if f.var in FEATURES:
                parts.append("features")
            case El() if is_made(f.var):
                pass
            case El():
                parts.append(placed(f.var, f.idx))
            case _:
                inner = sorted(n for n in x.variables(f) if not is_made(n))
                parts.append("_".join(([f.name] if isinstance(f, x.Fn) else []) + inner))
    base = "_".join(made_of(p)[1][-1] if is_made(p) else p for p in parts if p) or "count"
    used = used | {"log_likelihood", "state"}
    name, n = base, 1
    while name in used:
        n += 1
        name = f"{base}_{n}"
    return name


def placed(name: str, idx: Sequence[Idx]) -> str:
    """A name with the places that are told: `x_0`, and `x_before` of the element before."""
    said = [str(i) for i in idx if isinstance(i, int)]
    for i in idx:
        match i:
            case DataIx(x.Add((x.Val(), x.Num(v)))) if v < 0:
                said.append("before" if v == -1 else f"{-v}_before")
    return "_".join((name, *said))
