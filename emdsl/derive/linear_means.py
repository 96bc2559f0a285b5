"""Rows that enter through sums of products of data: where every posterior mean is linear in data.

    h[n] = C f[n],  J the same in every row:    m[n] = B f[n],  B = inv(J) C,     f[n] all features of a row, stacked
    sum over n of w m m'  =  B (sum over n of w f f') B'

With the means written so, every factor of a statistic and of the log-likelihood that carries the row is data, and the
data enter through sums of products of features, `w f f'`, that `once` takes out: an iteration costs nothing in N.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Idx, Ix
from emdsl.derive.algebra.made import COV, FEATURES, NORM, PRESENT, is_made, made_of
from emdsl.derive.joint.sides import KNOWN, PARAMETER
from emdsl.derive.joint.terms import Term, canonical_form, opened
from emdsl.derive.plan import Plan
from emdsl.derive.posteriors.block import Block
from emdsl.derive.posteriors.once import NONE, Known, taken_out
from emdsl.derive.posteriors.roles import Role, linear_in
from emdsl.derive.updates.statistics import drop_presence

ONE = Ix("one", "1")  # the one row that stands for all, where a precision is computed


@dataclass(frozen=True)
class Feature:
    """A product of data on one row, over axes of its own."""

    factors: tuple[Expr, ...]
    axes: tuple[Ix, ...]


@dataclass(frozen=True)
class Linear:
    """A Gaussian block: its precision, which lacks the row, and its linear terms as multiples of features.

    `block` has the terms of the precision alone, of one row; `alone` are those without a latent, on `home`.
    """

    block: Block
    home: tuple[Ix, ...]
    alone: tuple[Term, ...]
    latents: tuple[str, ...]
    rows: Mapping[str, tuple[Ix, ...]]
    columns: Mapping[str, tuple[Ix, ...]]
    features: tuple[Feature, ...]
    coefficients: Mapping[tuple[str, int], tuple[Term, ...]]

    @property
    def name(self) -> str:
        return self.block.name

    @property
    def dimension(self) -> str:
        """What all features together run over."""
        return f"{self.name}[features]"


@dataclass(frozen=True)
class Once:
    """E-step without rows: statistics and log-likelihood as sums of terms that sums of data close."""

    linear: tuple[Linear, ...]
    statistics: Mapping[str, tuple[Term, ...]]
    free: tuple[Term, ...]


def without_rows(plan: Plan, known: Known) -> Once | str:
    """Every statistic and the log-likelihood from sums of data, where nothing is missing; or why rows stay."""
    if plan.elimination.parts or plan.joint.clouds:
        return "its posterior is found by sweeps over the rows"
    if plan.expected.mixed:
        return "data and parameters do not come apart in its updates"
    found: dict[str, Linear] = {}
    for block in plan.elimination.blocks:
        made = _linear(block, known)
        if isinstance(made, str):
            return f"{block.name}: {made}"
        found |= dict.fromkeys(block.latents, made)
    if not found:
        return "nothing is latent"
    rows = frozenset(i.dim for v in found.values() for i in v.home)
    statistics, free = {}, []
    for s in plan.expected.statistics:
        parts = _expanded(Term(1, (), s.factors, s.ixs), found)
        if isinstance(parts, str) or not all(_closes(t, s.axes, rows, known) for t in parts):
            return f"the statistic {s.name} keeps the rows"
        statistics[s.name] = tuple(parts)
    for t in plan.elimination.free:
        parts = _expanded(t, found)
        if isinstance(parts, str) or not all(_closes(p, (), rows, known) for p in parts):
            return "the log-likelihood keeps the rows"
        free += parts
    linear = tuple({v.name: v for v in found.values()}.values())
    return Once(linear, statistics, tuple(free))


def _closes(t: Term, out: Sequence[Ix], rows: frozenset[str], known: Known) -> bool:
    """Whether sums of data leave nothing that carries a row."""
    carried = {i for f in t.factors for i in x.free(f)}
    got = taken_out(t.factors, tuple(i for i in out if i in carried), known)
    rest = t.factors if got is None else tuple(got[2])
    return not any(i.dim in rows for f in rest for i in x.free(f))


# ------------------------------------------------------------------ one block


def _linear(block: Block, known: Known) -> Linear | str:
    """The block with its linear terms as multiples of features of a row; or why not."""
    if block.chain or block.network or block.field or block.states or block.cuts:
        return "its posterior is no function of one row's linear terms"
    if not block.home or known.whole not in (None, *(i.dim for i in block.home)):
        return "it lies on no row"
    if block.neighbours or block.scale is not None or block.filtered or block.by_pattern:
        return "its precision is not the same in every row"
    rows: Mapping[str, tuple[Ix, ...]]
    if block.gaussian is not None:
        rows, columns = block.gaussian.rows, block.gaussian.columns
        latents: dict[Role, str] = {linear_in(n): n for n in block.latents}
    elif block.record is not None and block.record.gaussian and not block.own:
        rows = columns = {block.name: ()}
        latents = {"id": block.name}
    else:
        return "its moments are no polynomials in data"
    features: dict[Feature, int] = {}
    coefficients: dict[tuple[str, int], list[Term]] = {}
    kept: list[tuple[Term, Role]] = []
    alone: list[Term] = []
    for t, role in zip(block.terms, block.roles, strict=True):
        t = _gapless(t)
        if not role:
            alone.append(t)
            continue
        if role not in latents:
            if any(set(block.home) & set(x.free(f)) for f in t.factors):
                return "its precision is not the same in every row"
            kept.append((replace(t, ixs=tuple(i for i in t.ixs if i not in block.home)), role))
            continue
        for part in (_feature(p, block.home, rows[latents[role]], known) for p in _opened(t, block.home, known)):
            if part is None:
                return "its linear terms are no sums of data"
            feature, rest = part
            key = latents[role], features.setdefault(feature, len(features))
            coefficients.setdefault(key, []).append(rest)
    if not features:
        return "no data read it"
    bare = replace(block, home=(ONE,), terms=tuple(t for t, _ in kept), roles=tuple(r for _, r in kept))
    each = {k: tuple(v) for k, v in coefficients.items()}
    return Linear(bare, block.home, tuple(alone), block.latents, rows, columns, tuple(features), each)


def _gapless(t: Term) -> Term:
    """A term where nothing is missing."""
    factors = tuple(f for f in t.factors if not (isinstance(f, El) and f.var in PRESENT))
    return replace(t, factors=factors)


def _opened(t: Term, home: Sequence[Ix], known: Known) -> list[Term]:
    """The term with factors that hold data of the row and parameters together opened."""
    options = []
    for f in t.factors:
        mixed = set(home) & set(x.free(f)) and not known.holds(f)
        options.append(opened(f, lambda n: KNOWN if n in known.data else PARAMETER) if mixed else [(1, (f,), ())])
    out = []
    for combo in product(*options):
        coef, ixs = t.coef, list(t.ixs)
        factors: list[Expr] = []
        for c, found, more in combo:
            coef, ixs = coef * c, [*ixs, *more]
            factors += found
        out.append(Term(coef, (), tuple(factors), tuple(dict.fromkeys(ixs))))
    return out


def _feature(t: Term, home: Sequence[Ix], rows: Sequence[Ix], known: Known) -> tuple[Feature, Term] | None:
    """A linear term as a feature of the row times what lacks the row; None where it does not come apart."""
    data = [f for f in t.factors if set(home) & set(x.free(f))]
    rest = tuple(f for f in t.factors if f not in data)
    inside = [i for i in dict.fromkeys(i for f in data for i in x.free(f)) if i not in home]
    if not all(known.holds(f) for f in data) or set(inside) & set(rows):
        return None
    axes = [i for i in inside if any(i in x.free(f) for f in rest)]
    factors, alone = tuple(data), [i for i in inside if i not in axes]
    if alone:
        body = x.mul(*data)
        for i in alone:
            body = x.total(i, body)
        factors = (body,)
    _, names = canonical_form((*factors, *(El("out", (i,)) for i in axes)), tuple(axes), NONE)
    to = {i: Ix(f"feature_{names[i].name}", i.dim) for i in axes}
    given: dict[Ix, Idx] = dict(to)
    written = tuple(sorted((x.substitute(f, given) for f in factors), key=repr))
    ixs = tuple(to.get(i, i) for i in t.ixs if i not in home and i not in alone)
    own = tuple(sorted(to.values(), key=lambda i: (i.name, i.dim)))
    return Feature(written, own), Term(t.coef, (), tuple(x.substitute(f, given) for f in rest), ixs)


# ------------------------------------------------------------------ what means and normalisers stand for


def _expanded(t: Term, found: Mapping[str, Linear]) -> list[Term] | str:
    """A term with moments and log-normalisers as polynomials in features."""
    options: list[list[Term]] = []
    for f in drop_presence(_gapless(t).factors)[0]:
        power = 2 if isinstance(f, x.Pow) and isinstance(f.exponent, x.Num) and f.exponent.value == 2 else 1
        e = f.base if isinstance(f, x.Pow) and power == 2 else f
        parts = _moment(e, found) if isinstance(e, El) else None
        if parts is None:
            if any(made_of(n)[1][0] in found for n in x.variables(f) if is_made(n)):
                return f"a moment stands inside {f}"
            options.append([Term(1, (), (f,), ())])
        else:
            options += [parts() for _ in range(power)]
    out = []
    for combo in product(*options):
        coef, ixs = t.coef, list(t.ixs)
        factors: list[Expr] = []
        for p in combo:
            coef, ixs = coef * p.coef, [*ixs, *p.ixs]
            factors += p.factors
        out.append(Term(coef, (), tuple(factors), tuple(dict.fromkeys(ixs))))
    return out


def _moment(e: El, found: Mapping[str, Linear]) -> Callable[[], list[Term]] | None:
    """The terms that a moment or log-normaliser stands for, in indices of their own each time; None if neither."""
    kind, of = made_of(e.var)
    latent, what = (*of, "", "")[:2]
    if latent not in found or kind not in ("mean", "cov", "E", "A"):
        return None
    v = found[latent]
    home = len(v.home)
    match kind, what:
        case "mean", _:
            return lambda: _mean(v, latent, e.idx[:home], e.idx[home:])
        case "E", "id":
            return lambda: _mean(v, latent, e.idx, ())
        case "E", "square":
            return lambda: [
                Term(1, (), (El(COV.of(latent, latent), ()),), ()),
                *_times(_mean(v, latent, e.idx, ()), _mean(v, latent, e.idx, ())),
            ]
        case "cov", _:
            own = len(v.rows[latent]) + len(v.columns[what])
            return lambda: [Term(1, (), (El(e.var, e.idx[len(e.idx) - own :]),), ())]
        case "A", "":
            return lambda: _normaliser(v, e.idx)
    return None


def _times(first: Sequence[Term], second: Sequence[Term]) -> list[Term]:
    return [
        Term(a.coef * b.coef, (), (*a.factors, *b.factors), (*a.ixs, *b.ixs)) for a in first for b in second
    ]  # fmt: skip


def _of_features(v: Linear, kind: str, latent: str, place: Sequence[Idx], own: Sequence[Idx]) -> list[Term]:
    """C f[place] or B f[place]: `coef`, what h is of features, or `slope`, what the mean is."""
    k = x.fresh(v.dimension)
    factors = (El(f"{kind}:{latent}", (*own, k)), El(FEATURES.of(v.name), (*place, k)))
    return [Term(1, (), factors, (k,))]


def _mean(v: Linear, latent: str, place: Sequence[Idx], own: Sequence[Idx]) -> list[Term]:
    return _of_features(v, "slope", latent, place, own)


def _normaliser(v: Linear, place: Sequence[Idx]) -> list[Term]:
    """1/2 <h, m> + 1/2 log |2 pi inv(J)|, and the block's terms without a latent."""
    out = [Term(1, (), (El(NORM.of(v.name), ()),), ())]
    for n in v.latents:
        own = tuple(x.fresh(i.dim) for i in v.rows[n])
        for t in _times(_of_features(v, "coef", n, place, own), _mean(v, n, place, own)):
            out.append(Term(t.coef * x.HALF.value, (), t.factors, (*own, *t.ixs)))
    to: dict[Ix, Idx] = dict(zip(v.home, place, strict=True))
    for t in v.alone:
        fresh = {i: x.fresh(i.dim) for i in t.ixs if i not in v.home}
        out.append(Term(t.coef, (), tuple(x.substitute(f, {**to, **fresh}) for f in t.factors), tuple(fresh.values())))
    return out
