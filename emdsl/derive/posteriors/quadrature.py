"""Which latents are integrated out by quadrature: those that `infer` lines name, and those that nothing else closes.

log integral over b[g] of p(y_g, b[g] | theta),  for each element g by itself, in one or two dimensions
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from itertools import combinations, islice

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr
from emdsl.derive.algebra.made import PRESENT
from emdsl.derive.joint.factors import Bend, Cloud, Factor, LogJoint
from emdsl.derive.joint.plates import home_of
from emdsl.derive.joint.ranges import EVERYWHERE, range_of
from emdsl.derive.joint.sides import classes
from emdsl.derive.joint.vectors import rejoined
from emdsl.derive.posteriors.block import Block, tries
from emdsl.derive.posteriors.blocks import Elimination, eliminate
from emdsl.derive.posteriors.clouds import dimensions, with_clouds
from emdsl.derive.posteriors.falls import falls_otherwise
from emdsl.derive.posteriors.inside import about_one, nested
from emdsl.derive.posteriors.intervals import Interval, interval_of, jumps
from emdsl.derive.posteriors.kinks import bends_of, jumps_of, kinks_of
from emdsl.derive.posteriors.separate import alone, intractable
from emdsl.derive.posteriors.slopes import components
from emdsl.errors import ModelError, Problem
from emdsl.language import model as m

POINTS = 15  # in each dimension
MOST = 2  # dimensions of one element: the points are a product of those in each
NO_NUMBER = {"simplex": "a vector of probabilities", "spd": "a positive definite matrix", "count": "several counts"}
WAYS_OUT = "infer ... by saem or mcmc samples them; meanfield factorises where every factor is conjugate"


def requested(joint: LogJoint) -> tuple[Cloud, ...]:
    """The clouds of `infer ... by quadrature` lines. Raises `ModelError` for what has no quadrature, with the number.

    Names of one plate that some density holds together are one cloud, as if in parentheses.
    """
    wanted: list[tuple[tuple[str, ...], int, m.Infer]] = []
    said = {n for line in joint.model.infer if line.options for g in line.groups for n in g}
    for line in joint.model.infer:
        if line.method == "quadrature":
            points = next((int(v) for n, v in line.options if n == "points"), POINTS)
            wanted += [(g, points, line) for g in line.groups]
    for group, _, line in wanted:
        why = next((w for n in group if (w := _unfit(n, joint))), "")
        if why:
            raise ModelError(Problem("E120", why, line.span, WAYS_OUT), joint.model.source)
    out: list[tuple[tuple[str, ...], int, m.Infer]] = []
    for group, points, line in wanted:
        met = [k for k, (other, _, _) in enumerate(out) if _together((*other, *group), joint)]
        for k in reversed(met):
            other, most, _ = out.pop(k)
            group, points = (*other, *group), max(points, most)
        out.append((group, points, line))
    clouds: list[Cloud] = []
    for group, points, line in out:
        names = tuple(v.name for v in joint.model.variables if v.name in group)
        whole = Cloud(names, "quadrature", points, grows=not said & set(names))
        why = _too_many(names, joint)
        parts = about_one(whole, joint) if why else (whole,)
        if not parts:
            raise ModelError(Problem("E120", why, line.span, WAYS_OUT), joint.model.source)
        clouds += parts
    return tuple(clouds)


def _unfit(name: str, joint: LogJoint) -> str:
    """Why one latent has no quadrature at all."""
    v = joint.model.variable(name)
    if v.kind != "latent":
        return f"quadrature is for latents: {name} is observed, and what is missing of it is integrated out exactly"
    if name in joint.discrete:
        return f"{name} is discrete: its states are summed out exactly"
    if not (v.domain.interval or v.domain.kind == "count") or (v.domain.kind == "count" and v.shape[len(v.plates) :]):
        return (
            f"{name} is {NO_NUMBER.get(v.domain.kind, v.domain.kind)}: quadrature takes real numbers and single counts"
        )
    jumping = v.domain.kind != "count" and any(jumps(f, name) for f in joint.factors) and between(joint, name) is None
    if jumping and not jumps_of(joint, name, classes(joint)):
        return f"a density compares {name} with a number: it jumps there, which quadrature does not follow"
    found = range_of(v)
    return found if isinstance(found, str) else ""


def between(joint: LogJoint, name: str) -> Interval | None:
    """The interval that data leave to each number of a latent; None where they leave no one interval."""
    return interval_of(joint, name, classes(joint))


def counts(cloud: Cloud, joint: LogJoint) -> bool:
    """Whether its points are counts, of which the integral is a sum."""
    return joint.model.variable(cloud.name).domain.kind == "count"


def bounded(cloud: Cloud, joint: LogJoint) -> bool:
    """Whether its points must follow it to a tail that is no Gaussian's: at bounds (those that data leave it, kinks,
    or that of a single number, whose logarithm has an exponential tail), or as its own density falls."""
    if counts(cloud, joint):
        return False
    if cloud.ends or cloud.kinks or cloud.bends or cloud.tailed:
        return True
    (first, *others), model = cloud.latents, joint.model
    ends = range_of(model.variable(first))
    alone = not others and not cloud.shared and not model.variable(first).domain.dims
    return alone and ends != EVERYWHERE


def count_of(cloud: Cloud, joint: LogJoint) -> int:
    """How many points its rule has for an element; of one inside another cloud, at each of that one's points."""
    numbers = len(components(cloud, joint))
    follows = counts(cloud, joint) or bounded(cloud, joint)
    if cloud.bends:
        return 8 * cloud.points
    each = (4 if numbers == 1 else 2) * cloud.points + 1 if follows else cloud.points
    return int(each**numbers) * (len(cloud.kinks) + 1)


def _plates(name: str, joint: LogJoint) -> tuple[object, ...]:
    return tuple((str(p.size), repr(p.condition)) for p in joint.model.variable(name).plates)


def _together(names: Sequence[str], joint: LogJoint) -> bool:
    """Whether these latents lie on the same plates and some density holds several of them."""
    if len({_plates(n, joint) for n in names}) > 1:
        return False
    held = [set(names) & {n for e in (f.body, *f.masks) for n in x.variables(e)} for f in joint.factors]
    return any(len(h) > 1 for h in held)


def _too_many(names: tuple[str, ...], joint: LogJoint) -> str:
    if len({_plates(n, joint) for n in names}) > 1:
        return f"{', '.join(names)} lie on different plates: the integral over them does not come apart by element"
    sizes = [dimensions(joint.model.variable(n), joint.model) for n in names]
    if None in sizes:
        return f"the lengths of {', '.join(names)} are not known when the model is compiled: write them as numbers"
    total = sum(s for s in sizes if s is not None)
    whole = [n for n in names if total > 1 and joint.model.variable(n).domain.kind == "count"]
    if whole:
        return f"{whole[0]} is a count, which is summed out in one dimension: not together with others"
    if total > MOST:
        return f"quadrature is over at most {MOST} dimensions, and an element of ({', '.join(names)}) has {total}"
    return ""


def by_quadrature(
    joint: LogJoint, clouds: Sequence[Cloud], weighted: str | None, only: AbstractSet[str] | None = None
) -> tuple[LogJoint, Elimination]:
    """The joint at points and its elimination, or that of `only` some latents. Raises `ModelError` where the elements
    of a cloud are tied."""
    clouds = nested(joint, clouds)
    _refuse_settled(joint, clouds)
    at_points = placed(joint, [replace(c, bends=_bends(c, joint)) for c in clouds])
    elimination = eliminate(at_points, weighted, only)
    refuse_tied(joint, clouds, elimination.blocks)
    return at_points, elimination


def placed(joint: LogJoint, clouds: Sequence[Cloud]) -> LogJoint:
    """The joint in which these latents stand at points, between the ends that data leave them."""
    everyone = [n for c in clouds if not c.shared for n in c.latents]
    found = {n: i for n in everyone if (i := between(joint, n)) is not None}
    summed = {c.name for c in clouds if counts(c, joint)}  # over an end or up to it: the factors say which
    settled = [f for n, i in found.items() if n not in summed for f in i.factors]
    rest = replace(joint, factors=tuple(f for f in joint.factors if f not in settled))  # a kink at an end is none
    shaped = [replace(c, ends=_ends(c, found, joint), kinks=_kinks(c, rest), tailed=_tailed(c, joint)) for c in clouds]
    return with_clouds(joint, shaped, settled)


def _refuse_settled(joint: LogJoint, clouds: Sequence[Cloud]) -> None:
    """Raises `ModelError` where data settle a count given another: one at most is possible, which takes long to find
    for each point of the other."""
    for c in clouds:
        if c.outer and counts(c, joint) and any(_equates(f, {c.name, c.outer}) for f in joint.factors):
            text = f"data settle what {c.name} is given {c.outer}: a sum over counts looks for it among all, each time"
            raise ModelError(Problem("E120", text, joint.model.variable(c.name).span, WAYS_OUT), joint.model.source)


def _equates(f: Factor, names: set[str]) -> bool:
    """Whether a factor is 0 unless some number that holds all of these is another one."""
    return any(isinstance(e, x.Fn) and e.name == "eq" and names <= x.variables(e) for e in x.walk(f.body))


def refuse_tied(joint: LogJoint, clouds: Sequence[Cloud], blocks: Sequence[Block]) -> None:
    """Raises `ModelError` where the integral over the elements of a cloud does not come apart."""
    names = {c.name for c in clouds}
    around = {(c.name, c.outer) for c in clouds}
    for b in blocks:
        tied = [n for n in b.latents if n in names]
        met = {n.of.var for n in b.neighbours if isinstance(n.of, El)} & names
        others = sorted(o for o in met if not all((t, o) in around for t in tied))
        whole = b.chain is not None or bool(b.network)
        if tied and (whole or others):
            v = joint.model.variable(tied[0])
            text = f"the elements of {', '.join(tied)} are tied to one another: {_tie(tied, joint)}"
            if not whole:
                text = f"{tied[0]} is tied to {others[0]}: the integral is over their elements all at once"
            raise ModelError(Problem("E120", text, v.span, WAYS_OUT), joint.model.source)


def _ends(cloud: Cloud, found: Mapping[str, Interval], joint: LogJoint) -> tuple[tuple[Expr, Expr], ...]:
    """The ends that data leave each dimension of a cloud, infinite where they say nothing; none where they never do."""
    if not set(cloud.latents) & set(found):
        return ()
    none = (x.Num(-math.inf), x.Num(math.inf))
    return tuple(found[c.latent].ends(c.at) if c.latent in found else none for c in components(cloud, joint))


def _kinks(cloud: Cloud, joint: LogJoint) -> tuple[Expr, ...]:
    if not _alone(cloud) or cloud.bends:
        return ()
    kinds = classes(joint)
    return tuple(dict.fromkeys((*kinks_of(joint, cloud.name, kinds), *jumps_of(joint, cloud.name, kinds))))


def _bends(cloud: Cloud, joint: LogJoint) -> tuple[Bend, ...]:
    return bends_of(joint, cloud.name, classes(joint)) if _alone(cloud) else ()


def _alone(cloud: Cloud) -> bool:
    """Whether it is one latent, whose elements have points of their own, not those inside another one's."""
    return len(cloud.latents) == 1 and not cloud.shared and not cloud.outer


def at_shared_points(joint: LogJoint, clouds: Sequence[Cloud], weighted: str | None) -> tuple[LogJoint, Elimination]:
    """The same under points that all elements of the one latent share. Raises `ModelError` where that gains nothing.

    Where every term is a product of data of one row and of what no row has (parameters, points), the log density of
    all rows at all points is one matrix product.
    """
    fault = ModelError(Problem("E120", "the elements do not meet their latent through the same functions"))
    names = [n for c in clouds for n in c.latents]
    v = joint.model.variable(names[0]) if len(names) == 1 else None
    jumping = v is not None and any(jumps(f, v.name) for f in joint.factors)
    if v is None or v.domain.dims or range_of(v) != EVERYWHERE or jumping:
        raise fault
    at_points, elimination = by_quadrature(joint, [replace(c, shared=True) for c in clouds], weighted)
    known = {u.name for u in joint.model.variables if u.kind in ("given", "observed")}
    for b in elimination.blocks:
        rows = [f for t in b.terms for f in t.factors if set(b.home) & set(x.free(f))]
        data = all(PRESENT.named(n) in known for f in rows for n in x.variables(f))
        if len(elimination.blocks) > 1 or len(b.home) != 1 or b.neighbours or len(b.states) > 1 or not data:
            raise fault
    return at_points, elimination


def _tie(names: Sequence[str], joint: LogJoint) -> str:
    """Where elements of clouds meet, in words."""
    for f in joint.factors:
        places = {(e.var, e.idx[: len(home_of(joint.model.variable(e.var)))])
                  for e in x.walk(f.body) if isinstance(e, El) and e.var in names}  # fmt: skip
        if len({p for _, p in places}) > 1:
            what = f.about or "a factor"
            return f"the density of {what} holds several, so the integral is over all of them at once"
    return "the integral is over all of them at once"


def fit_for_points(names: Sequence[str], joint: LogJoint, taken: Sequence[Cloud]) -> tuple[Cloud, ...]:
    """These latents as clouds of their own, those of one plate that meet as one; () where one has none."""
    groups: list[tuple[str, ...]] = []
    for n in names:
        if any(n in c.latents for c in taken):
            continue
        if _unfit(n, joint) or joint.model.variable(n).domain.kind == "count":
            return ()
        met = next((g for g in groups if _together((*g, n), joint)), None)
        groups = [(*g, n) if g == met else g for g in groups] if met else [*groups, (n,)]
    return () if any(_too_many(g, joint) for g in groups) else tuple(_default(g) for g in groups)


def _default(names: tuple[str, ...]) -> Cloud:
    return Cloud(names, "quadrature", POINTS, grows=True)


def finest(joint: LogJoint) -> int:
    """How many times the points may be taken where those that there are do not do: 1 where a line says their number,
    or where several methods are at work."""
    clouds = [c for c in joint.clouds if not c.shared]
    if not clouds or not all(c.method == "quadrature" and c.grows for c in clouds):
        return 1
    wide = any(c.outer or len(components(c, joint)) > 1 for c in clouds)
    return 4 if wide else 8 if any(bounded(c, joint) or counts(c, joint) for c in clouds) else 32


def where_possible(joint: LogJoint, weighted: str | None) -> tuple[LogJoint, Elimination] | None:
    """Quadrature over as few latents as let the rest be exact; None where no choice of one or two dimensions does.

    Parts of the model that no factor ties each have a choice of their own.
    """
    chosen: tuple[Cloud, ...] = ()
    parts = intractable(joint, weighted)
    for part in parts:
        free = [v.name for v in joint.model.of_kind("latent")
                if v.name in part - joint.discrete - joint.deterministic and not _unfit(v.name, joint)]  # fmt: skip
        here, only = (joint, None) if len(parts) == 1 else (alone(joint, part), part)
        for clouds in islice(_choices(free, joint), tries(len(free))):
            try:
                found = by_quadrature(here, clouds, weighted, only)
            except ModelError:
                continue
            if len(parts) == 1:
                return found
            chosen += clouds
            break
        else:
            return None
    try:
        return by_quadrature(joint, chosen, weighted) if chosen else None
    except ModelError:
        return None


def _choices(free: Sequence[str], joint: LogJoint) -> Iterator[tuple[Cloud, ...]]:
    """One latent, then two, ...: those of one plate that meet are one cloud."""
    for count in range(1, len(free) + 1):
        for chosen in combinations(free, count):
            groups: list[tuple[str, ...]] = []
            for n in chosen:
                met = next((g for g in groups if _together((*g, n), joint)), None)
                groups = [(*g, n) if g == met else g for g in groups] if met else [*groups, (n,)]
            whole = [_default(g) for g in groups]
            parts = [_unasked(c, joint) for c in whole]
            if all(parts):
                yield tuple(c for p in parts for c in p)


def _unasked(cloud: Cloud, joint: LogJoint) -> tuple[Cloud, ...]:
    """Points of each number for each point of another are many for all rows: unasked for the few beside gaps alone."""
    if not _too_many(cloud.latents, joint):
        return (cloud,)
    return about_one(cloud, joint) if joint.model.copies else ()


def of_one_mode(joint: LogJoint, at_points: LogJoint) -> bool:
    """Whether no discrete latent chooses between densities of what stands at points.

    Where one does, what it leaves is a mixture; points about one of several modes miss the others, and doubling them
    does not tell.
    """
    return not any(
        f.gates and at_points.in_clouds & x.variables(f.body) and {g.of.var for g in f.gates if isinstance(g.of, El)}
        for f in joint.factors
    )


def why_not(joint: LogJoint, weighted: str | None) -> str:
    """Why quadrature cannot be, in words: the number of dimensions, or where elements are tied."""
    free = tuple(v.name for v in joint.model.of_kind("latent") if v.name not in joint.discrete | joint.deterministic)
    unfit = next((w for n in free if (w := _unfit(n, joint))), "") if free else "no latent is continuous"
    if unfit:
        return unfit
    if len(free) > 1 and not _together(free, joint) and len({_plates(n, joint) for n in free}) == 1:
        free = free[:1]
    try:
        too_many = _too_many(free, joint)
        if not too_many:
            by_quadrature(joint, (Cloud(free, "quadrature", 1),), weighted)
    except ModelError as refusal:
        return refusal.problems[0].message
    return too_many


def denser(joint: LogJoint, points: tuple[int, int], nested: tuple[int, int] = (0, 0)) -> m.ModelText:
    """The model with this many points asked for: of latents in one dimension, and in each of two; `nested`, where one
    has its own at each of another's, or is that other: of a rule that takes as many, and of one that takes four times
    as many."""
    names, around = joint.in_clouds, {c.outer for c in joint.clouds}
    lines = []
    for line in joint.model.infer:
        left = [(g, b) for g, b in zip(line.groups, line.grouped, strict=True) if not set(g) & names]
        if left:
            lines.append(replace(line, groups=tuple(g for g, _ in left), grouped=tuple(b for _, b in left)))
    for c in joint.clouds:
        size = sum(dimensions(joint.model.variable(n), joint.model) or 1 for n in c.latents)
        inside = nested[count_of(c, joint) > c.points] if size == 1 and (c.outer or c.name in around) else 0
        count = max(c.points, inside or points[size - 1])
        lines.append(m.Infer((c.latents,), (len(c.latents) > 1,), "quadrature", (("points", count),)))
    return rejoined(replace(joint.model, infer=tuple(lines)))


def _tailed(cloud: Cloud, joint: LogJoint) -> bool:
    v = joint.model.variable(cloud.name)
    single = len(cloud.latents) == 1 and not cloud.shared and v.domain.kind != "count"
    return single and range_of(v) == EVERYWHERE and falls_otherwise(joint, cloud.name, classes(joint))
