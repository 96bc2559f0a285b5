"""Model -> Plan: everything that is derived, with its reasons, before any code is printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Ix
from emdsl.derive.algebra.made import PRESENT, STATISTIC
from emdsl.derive.joint.centre import Shift
from emdsl.derive.joint.constraints import in_constraints, seen_exactly
from emdsl.derive.joint.counted import counting
from emdsl.derive.joint.designs import Design
from emdsl.derive.joint.elements import apart
from emdsl.derive.joint.extremes import which_of_several
from emdsl.derive.joint.factors import LogJoint
from emdsl.derive.joint.gated_sums import UnderSum
from emdsl.derive.joint.planes import Plane
from emdsl.derive.joint.plates import plate_names
from emdsl.derive.joint.positions import by_positions
from emdsl.derive.joint.running import by_running_sums
from emdsl.derive.joint.spikes import has_points, refuse_apart, refuse_points
from emdsl.derive.joint.vectors import in_elements, of_cut_vectors, sizes_of, told_sizes
from emdsl.derive.near_zero import near_zero
from emdsl.derive.posteriors import meanfield, quadrature
from emdsl.derive.posteriors.blocks import Elimination, eliminate, enumerable
from emdsl.derive.posteriors.choices import Choice, choices
from emdsl.derive.posteriors.collapsed import collapsed, why_undrawn
from emdsl.derive.posteriors.configurations import MOST, asked, by_configurations
from emdsl.derive.posteriors.draws import Sampling, drawn_names, expanded, last_rung, sampling
from emdsl.derive.posteriors.kinks import followed
from emdsl.derive.posteriors.meanfield import as_sums_or_addends, factors_of_q, largest_factors, moments
from emdsl.derive.posteriors.multiplied import by_multipliers
from emdsl.derive.posteriors.numeric_factors import by_factors
from emdsl.derive.posteriors.quadrature import at_shared_points, by_quadrature, requested, where_possible
from emdsl.derive.posteriors.refusals import Refused, refused
from emdsl.derive.posteriors.tails import all_gaussian, candidates, gaussian
from emdsl.derive.posteriors.tie import tie
from emdsl.derive.unsuited import may_meet, refuse_meeting, suited
from emdsl.derive.updates.predictors import Predictor, predictors
from emdsl.derive.updates.rules import Closed, Update
from emdsl.derive.updates.solve import solve
from emdsl.derive.updates.statistics import Expected, expected
from emdsl.derive.weighted import unweighted, weighted_plate
from emdsl.errors import ModelError, Problem
from emdsl.language import model as m
from emdsl.language.resized import few, written_out


@dataclass(frozen=True)
class Plan:
    """The derivation of one model: exact posteriors, statistics, updates. `weighted` is the plate of sample weights."""

    joint: LogJoint
    shifts: Mapping[str, Shift]
    centred: tuple[str, ...]
    planes: tuple[Plane, ...]
    designs: tuple[Design, ...]
    elimination: Elimination
    expected: Expected
    updates: tuple[Update, ...]
    choices: Mapping[str, Choice]
    weighted: str | None
    scale_power: Mapping[str, int]
    moments: Mapping[str, tuple[Ix, ...]]  # of mean-field: what the factors of q hand to one another
    unweighted: Mapping[str, str]  # plates that cannot carry sample weights, with the reason
    draws: Sampling | None = None  # latents that are drawn; to all else of the plan they are data
    predictors: tuple[Predictor, ...] = ()  # in which effects of groups stand beside parameters

    @property
    def drawn(self) -> frozenset[str]:
        """The latents that are data here, drawn anew in each E-step."""
        return frozenset(self.draws.latents if self.draws is not None else ())

    def presence_axes(self, v: m.Variable) -> int:
        """How many of a variable's own axes its presence mask carries: cells that may be missing one by one."""
        name = PRESENT.of(v.name)
        found = [len(c.idx) for f in self.joint.factors for c in f.masks if isinstance(c, x.El) and c.var == name]
        after = [n for n, p in enumerate(v.plates) if isinstance(p.size, m.Ragged)]
        plates = len(v.plates) - after[-1] if after else len(v.plates)
        return min(found, default=plates) - plates


def derive(model: m.ModelText, incomplete: tuple[str, ...] = (), shared: bool = False) -> Plan:
    """The plan of a resolved model. Raises `ModelError` with the factor that stands in the way, and ways out.

    incomplete : observed variables of which some cells are missing. They are latents, held at the cells that were
    seen; what is latent of them is only what is missing. shared : quadrature under points that all elements share.
    """
    if model.written_out:
        return _written(model, model.written_out, incomplete, shared)
    try:
        return _by_elements(model, incomplete, shared)
    except UnderSum as refusal:
        return _under_sums(model, refusal, incomplete, shared)


def _by_elements(model: m.ModelText, incomplete: tuple[str, ...], shared: bool) -> Plan:
    """The plan in which Gaussian vectors that data cut are their elements, where vectors would be drawn or refused."""
    vectors = of_cut_vectors(model)
    if not vectors:
        return _of_text(model, incomplete, shared)
    plain, refusal = None, None
    try:
        plain = _of_text(model, incomplete, shared)
    except ModelError as error:
        refusal = error
    if plain is not None and not (plain.drawn | plain.joint.in_clouds) & set(vectors):
        return plain
    numbers = told_sizes(model)
    untold = few(model, sizes_of(model, vectors) - {n for n, _ in numbers})
    apart_from_others = in_elements(written_out(model, (*numbers, *untold)), vectors)
    try:
        found = None if apart_from_others is None else _of_text(apart_from_others, incomplete, shared)
    except ModelError as error:
        found, refusal = None, refusal or error
    if found is not None and (plain is None or not found.drawn):
        return _noting(found, untold)
    if plain is None:
        assert refusal is not None
        raise refusal
    return plain


def _under_sums(model: m.ModelText, refusal: UnderSum, incomplete: tuple[str, ...], shared: bool) -> Plan:
    """The plan in which a few elements that a density reads are written out, or their sum runs along the plate."""
    if numbers := few(model, refusal.sizes):
        try:
            return _written(model, numbers, incomplete, shared)
        except UnderSum:
            pass
    along = by_running_sums(model, refusal.sizes)
    if along is None:
        raise refusal
    try:
        return _of_text(along, incomplete, shared)
    except ModelError:
        raise refusal from None


def _written(
    model: m.ModelText, numbers: tuple[tuple[str, int], ...], incomplete: tuple[str, ...], shared: bool
) -> Plan:
    return _noting(_by_elements(written_out(model, numbers), incomplete, shared), numbers)


def _noting(plan: Plan, numbers: tuple[tuple[str, int], ...]) -> Plan:
    """The plan, of which each reason says what it is written out for."""
    if not numbers:
        return plan
    said = " and ".join(f"{n} = {k}" for n, k in numbers)
    note = f"; written out for {said}, for other numbers once data tell them"
    return replace(plan, choices={n: replace(c, reason=c.reason + note) for n, c in plan.choices.items()})


def _of_text(model: m.ModelText, incomplete: tuple[str, ...], shared: bool) -> Plan:
    model = suited(which_of_several(by_positions(apart(model))))
    if may_meet(model):
        refuse_meeting(expanded(model, ()))
    if model.tails or incomplete or not any(map(has_points, model.of_kind("observed"))):
        return _chosen(model, incomplete, shared)
    try:
        names = candidates(whole := expanded(model, ()))
    except ModelError:
        return _chosen(model, incomplete, shared)
    plain, refusal = None, None
    if not names or drawn_names(model) or all_gaussian(whole, names):  # cut Normals have closed moments
        try:
            plain = _chosen(model, incomplete, shared)
        except ModelError as error:
            refusal = error
    if plain is not None and not plain.elimination.parts and not (plain.drawn | plain.joint.in_clouds) & set(names):
        return plain
    found = _by_tails(model, shared, names, whole) if names else None
    if found is not None:
        return found
    if refusal is not None:
        raise refusal
    return plain if plain is not None else _chosen(model, incomplete, shared)


def _by_tails(model: m.ModelText, shared: bool, names: Sequence[str], whole: LogJoint) -> Plan | None:
    """The plan in which latents that are only known to lie somewhere are integrated out; None where it is none, or a
    bound, or drawn. Cut Normals beside others stay latents where their posterior is exact."""
    beside = any(gaussian(whole, n) for n in names)
    for told in (replace(model, tails="needed"), replace(model, tails="closed"))[not beside :]:
        try:
            found = _derive(told, (), shared)
        except ModelError:
            continue
        inexact = told.tails == "needed" and (found.drawn | found.joint.in_clouds) & {*names}
        if found.joint.tails and not found.elimination.parts and not inexact:
            return found
    return None


def _chosen(model: m.ModelText, incomplete: tuple[str, ...], shared: bool) -> Plan:
    """The plan of a model as it is written: exact, by points, by factors of q, or by draws."""
    exact = {} if model.exact or incomplete else seen_exactly(model)
    several = tuple(n for n, count in exact.items() if count > 1)
    if several:  # no interval of one latent says what such data do
        return _derive(replace(model, exact=several), incomplete, shared)
    try:
        return _derive(model, incomplete, shared)
    except ModelError as refusal:
        if isinstance(refusal, UnderSum) and few(model, refusal.sizes):
            raise  # exact once it is written out
        if exact:
            try:
                return _derive(replace(model, exact=tuple(exact)), incomplete, shared)
            except ModelError as further:
                if further.problems[0].code == "E113":
                    raise further from None
        if shared or model.together or refusal.problems[0].code == "E105":  # nor has what is drawn a slope
            raise
        above = ""
        for drawn in last_rung(model, incomplete):
            above = above or _above_sampling(model, refused(refusal))
            try:
                return _derive(drawn, incomplete, shared, above)
            except ModelError as further:
                if further.problems[0].code == "E112":
                    raise further from None
        raise


def _derive(model: m.ModelText, incomplete: tuple[str, ...], shared: bool, above: str = "") -> Plan:
    """The plan under the model's `infer` lines; `above` is why the rungs above Monte Carlo were refused."""
    names = drawn_names(model)
    whole = expanded(model, names)
    near = near_zero(whole, model, names, incomplete)
    draws = sampling(model, near.shifts, near.centred, near.joint.deterministic, above)
    refuse_points(whole, names)
    model = near.joint.model
    exact = with_gaps(near.joint, incomplete)
    weighted = weighted_plate(model, exact)
    if draws is not None and exact.multipliers:
        text = f"nothing is drawn beside {', '.join(exact.multipliers.values())}, of which parts have no noise"
        raise ModelError(Problem("E120", text, model.variable(draws.latents[0]).span), model.source)
    undrawn = None if draws is None else why_undrawn(exact, weighted)
    joint, elimination, above_it = posteriors(exact, weighted)
    together = _eliminated_together(model, joint, elimination, weighted)
    if together:
        weighted = None  # the plate's elements of a field or a network are eliminated together, whatever each weighs
        joint, elimination, above_it = posteriors(exact, weighted)
    if shared:
        joint, elimination = at_shared_points(exact, joint.clouds, weighted)
    held = in_constraints(joint)
    if model.multiplied and draws is None:
        joint, elimination = by_multipliers(joint, elimination, weighted) or (joint, elimination)
    draws = None if draws is None else collapsed(draws, elimination, model)
    if undrawn is not None and draws is not None and (draws.moved or joint.clouds or elimination.parts):
        raise undrawn
    if draws is not None:
        refuse_apart(whole, [*(g.latents for g in draws.groups), *((n,) for n in draws.moved)])
    q = expected(joint, elimination, weighted)
    updates = solve(model, q, held, followed(joint, bool(elimination.parts)))
    centred = (*near.centred, *near.covariates)
    return Plan(
        joint,
        {**near.shifts, **near.more},
        centred,
        near.planes,
        near.designs,
        elimination,
        q,
        updates,
        choices(elimination, joint, above_it, draws),
        weighted,
        _scale_powers(updates, (*centred, *(p.data for p in near.planes))),
        moments(elimination, model),
        unweighted(model, weighted, together),
        draws,
        predictors(whole) if draws is None and not elimination.parts else (),
    )


def _eliminated_together(
    model: m.ModelText, joint: LogJoint, elimination: Elimination, weighted: str | None
) -> set[str]:
    """The latents of which elements on the weighted plate are summed out as one, so that none has a weight."""
    tied = {
        n for b in elimination.blocks
        if ((b.field or (b.network and not b.apart)) and weighted not in {i.dim for i in b.outside})
        or b.turns
        for n in b.latents if weighted in plate_names(model.variable(n))
    }  # fmt: skip
    found = joint.configurations
    own = {n: plate_names(model.variable(n))[found.inner(n) :] for n in found.latents} if found else {}
    return tied | {n for n, plates in own.items() if weighted in plates}


def posteriors(joint: LogJoint, weighted: str | None) -> tuple[LogJoint, Elimination, Refused]:
    """Exact posteriors; by mean-field or quadrature where an `infer` line asks for it, or exact ones are not tractable.

    The first part is the joint that was eliminated: at points, for quadrature. The last is why nothing exact was
    found. What an `infer` line wants exact is refused instead.
    """
    wanted, clouds = factors_of_q(joint), requested(joint)
    if (wanted or clouds) and joint.multipliers:
        names = ", ".join(joint.multipliers.values())
        span = next(line.span for line in joint.model.infer if line.method in ("meanfield", "quadrature"))
        text = f"parts of {names} have no noise, which exact posteriors alone take: neither factors of q nor points do"
        raise ModelError(Problem("E120", text, span), joint.model.source)
    if wanted:
        return *by_factors(joint, weighted, wanted, clouds), Refused()
    if clouds:
        return *by_quadrature(joint, clouds, weighted), Refused()
    wanted_exact, tied = asked(joint.model), True
    try:
        found = eliminate(joint, weighted)
        tied = False
        enumerable(found.blocks, joint.model)
        return joint, found, Refused()
    except ModelError as refusal:
        why = refused(refusal)
        one_by_one = by_configurations(joint, weighted) if tied else None  # they are no fewer than states together
        if one_by_one is not None and (wanted_exact or joint.model.enumerated):
            return *one_by_one, why
        if wanted_exact or joint.multipliers or _exact_without_gaps(joint, weighted):
            raise
        more = ""
        if one_by_one is not None:
            names = ", ".join(v.name for v in joint.model.variables if v.name in one_by_one[0].configured)
            more = f"; these data have many configurations of {names}: infer {names} by exact takes up to {MOST}"
        at_points = where_possible(joint, weighted)
        if not (joint.model.together if at_points is None else quadrature.of_one_mode(joint, at_points[0])):
            for counted in map(counting, as_sums_or_addends(joint)):
                factors = largest_factors(counted, weighted)
                if factors is not None:
                    more += f"; not quadrature: {_no_points(joint, weighted)}"
                    return counted, factors, replace(why, more=more)
        if at_points is None:
            raise
        free = [v.name for v in joint.model.variables if v.name in at_points[0].in_clouds]
        tied_by = tie(joint, free)
        return *at_points, Refused(tied_by) if tied_by else replace(why, more=more)


def _above_sampling(model: m.ModelText, exact: Refused) -> str:
    """Why the rungs above Monte Carlo were refused: what ties the latents, why neither quadrature nor mean-field is."""
    joint = expanded(model, ())
    free = [v.name for v in model.of_kind("latent") if v.name not in joint.discrete | joint.deterministic]
    weighted = weighted_plate(model, joint)
    points, factors = quadrature.why_not(joint, weighted), meanfield.why_not(joint, weighted)
    text = (tie(joint, free) or exact.first) + (f"; not quadrature: {points}" if points else "")
    factors = factors if factors != exact.first else ""
    apart = factors.replace("the posterior of", "the factor of", 1).replace("is not tractable", "is not conjugate", 1)
    alike = "the same stands in the way of each factor of q"
    return f"{text}; not meanfield: {apart or alike}"


def _no_points(joint: LogJoint, weighted: str | None) -> str:
    """Why quadrature is not the way where mean-field is."""
    return quadrature.why_not(joint, weighted) or "a discrete latent leaves a mixture, which may have several modes"


def _exact_without_gaps(joint: LogJoint, weighted: str | None) -> bool:
    """Whether it is missing cells alone that exact posteriors fail at: no fit turns into a bound because of a gap."""
    if not joint.incomplete:
        return False
    try:
        eliminate(replace(joint, incomplete=frozenset()), weighted)
    except ModelError:
        return False
    return True


def with_gaps(joint: LogJoint, incomplete: tuple[str, ...]) -> LogJoint:
    """The joint in which every cell of these data counts, seen or not."""
    marks = {PRESENT.of(n) for n in incomplete}
    factors = tuple(
        replace(f, masks=tuple(c for c in f.masks if not (isinstance(c, El) and c.var in marks))) for f in joint.factors
    )
    return replace(joint, factors=factors, incomplete=frozenset(incomplete))


def _scale_powers(updates: tuple[Update, ...], centred: tuple[str, ...]) -> dict[str, int]:
    """Closed positive roots made of squares of centred data: 1 for a standard deviation, 2 for a variance, -2 for a
    precision."""
    out: dict[str, int] = {}
    for u in updates:
        if not isinstance(u.rule, Closed):
            continue
        for s in u.rule.functions:
            names = {STATISTIC.named(n) for n in x.variables(s.coefficient) if n in STATISTIC}
            if not any(f"{c}_{c}" in n for n in names for c in centred):
                continue
            if isinstance(s.function, El):
                out[u.params[0]] = -2
            elif isinstance(s.function, x.Pow) and s.function.exponent in (x.num(-1), x.num(-2)):
                out[u.params[0]] = 2 if s.function.exponent == x.num(-1) else 1
    return out
