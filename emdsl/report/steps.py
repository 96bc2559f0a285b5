"""Plan -> the numbered steps of a derivation, in the order of a textbook, each with its facts as data."""

from __future__ import annotations

from collections.abc import Collection, Set
from dataclasses import replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El
from emdsl.derive.algebra.made import REFERENCE, STATISTIC
from emdsl.derive.numbering import drawn_parts
from emdsl.derive.plan import Plan
from emdsl.derive.updates.statistics import Statistic
from emdsl.report import formula as f
from emdsl.report.abbreviated import abbreviated
from emdsl.report.draws import drawn_step, objective_of_draws, over_draws
from emdsl.report.expected import expected_step, has_latents, has_priors
from emdsl.report.families import family_steps
from emdsl.report.formula import Formula
from emdsl.report.incomplete import MISSING, SEEN, part
from emdsl.report.indices import unprimed
from emdsl.report.joint import density, joint_step, log_density, own_factors, told_apart
from emdsl.report.latents import posterior_step
from emdsl.report.lets import with_tensors_named
from emdsl.report.likelihood import beside_latents, likelihood
from emdsl.report.maxima import how_it_climbs
from emdsl.report.meanings import explained
from emdsl.report.means import with_means
from emdsl.report.page import Say, Show, Step, names_of
from emdsl.report.symbolic import spelt
from emdsl.report.tidy import tidy
from emdsl.report.together import Together
from emdsl.report.typeset import Typeset, typeset
from emdsl.report.unicode import text
from emdsl.report.unopened import unopened
from emdsl.report.updates import equation, taken, update_steps


def steps(plan: Plan) -> tuple[Step, ...]:
    """All steps of a plan that is in the model's own coordinates."""
    t = typeset(plan)
    out = [joint_step(plan, t), *family_steps(plan)]
    if plan.draws is not None:
        out.append(drawn_step(plan.draws, plan.joint.as_written.model, drawn_parts(plan)))
    if plan.elimination.blocks:
        out.append(_bound(plan))
    latents = {v.name for v in plan.joint.model.of_kind("latent")}

    def named(unknown: Collection[str] = ()) -> Plan:
        """The plan whose joint has names for vectors that hold no latent, and nothing of what is unknown besides."""
        plain = not (plan.shifts or plan.draws)
        return replace(plan, joint=with_tensors_named(plan.joint, latents.union(unknown))) if plain else plan

    out += [posterior_step(named(), b, t) for b in plan.elimination.blocks]
    if plan.joint.deterministic:
        out.append(_substituted(plan))
    if plan.expected.statistics:
        out.append(_with_means(_statistics(plan, t)))
    whole_q = unopened(plan)
    if plan.updates:
        of_q = _with_means(expected_step(plan, named(), whole_q, t))
        out.append(replace(of_q, body=abbreviated(of_q.body, taken(plan), again=False)))
    out += update_steps(plan, named, whole_q, t)
    out.append(_objective(plan, t))
    return tuple(explained([_unprimed(step, t) for step in told_apart(plan, out)]))


def _with_means(step: Step) -> Step:
    return replace(step, body=with_means(step.body))


def _unprimed(step: Step, t: Typeset) -> Step:
    """The step, its sums with no more primes than they need."""
    body = (replace(e, formula=unprimed(e.formula, t.letters.taken)) if isinstance(e, Show) else e for e in step.body)
    return replace(step, body=tuple(body))


# ------------------------------------------------------------------ the bound


def _bound(plan: Plan) -> Step:
    """The lower bound that EM climbs, and what q is."""
    model = plan.joint.as_written.model
    gone = {*plan.joint.multipliers, *plan.joint.tails}
    observed, latent = ([v.name for v in model.of_kind(k) if v.name not in gone] for k in ("observed", "latent"))
    params = [v.name for v in model.of_kind("param")]
    gaps = sorted(plan.joint.incomplete)
    hidden = f.Listed((*map(f.Name, latent), *(part(n, MISSING) for n in gaps)))
    entropy = f.Mean(f.Apply(f.Word("log"), (f.Apply(f.Word("q"), (hidden,)),)))
    right = f.Plus(((False, f.Mean(log_density([*observed, *latent], params))), (True, entropy)))
    bounded = "log-likelihood" if observed else "log of Z, the sum and integral of the joint over all that is latent,"
    body: list[Say | Show] = [
        Say(f"For any distribution q of what is latent, the {bounded} is at least"),
        Show(f.Relation(">=", _likelihood(plan), right)),
        Say(_factorised(plan))
        if plan.elimination.parts
        else Say(
            "with equality where q is the posterior at the current parameters (E is the mean under q). Here q is "
            f"that posterior, {_how_exactly(plan)}; the next steps find it.{_maximised(plan)}"
        ),
    ]
    return Step("The bound", tuple(body), {"kind": "bound", "exact": not plan.elimination.parts})


def _how_exactly(plan: Plan) -> str:
    clouds = [n for c in plan.joint.clouds for n in c.latents]
    return f"its integrals over {names_of(*clouds)} by quadrature" if clouds else "exactly"


def _factorised(plan: Plan) -> str:
    """What mean-field is, with the factors of this q."""
    single = {n for b in plan.elimination.blocks if b.apart for n in b.latents}
    parts = [
        f"q({', '.join(p.latents)})" + (" (over all its elements)" if set(p.latents) & single else "")
        for p in plan.elimination.parts
    ]
    return (
        f"with equality where q is the posterior. Here q is a product, {' '.join(parts)}, so the bound lies below. For "
        "one factor, the others held, the bound is greatest where the log of that factor is the log joint averaged "
        "over the others, up to a constant: the next steps find each. An E-step takes the factors in this order, "
        f"once.{_maximised(plan)}"
    )


def _maximised(plan: Plan) -> str:
    """What the M-step does, where there is one."""
    beside = " plus the log priors of the parameters" if has_priors(plan) else ""
    return f" The M-step maximises the first part{beside} with q held." if plan.updates else ""


def _likelihood(plan: Plan) -> Formula:
    """`log p(observed | params)`, of incomplete data what was seen; where all is `factor`s, the log of their sum Z."""
    model, gaps = plan.joint.model, plan.joint.incomplete
    if not model.of_kind("observed"):
        return f.Apply(f.Word("log"), (f.Word("Z"),))
    observed = (part(v.name, SEEN) if v.name in gaps else f.Name(v.name) for v in model.of_kind("observed"))
    return density(tuple(observed), tuple(f.Name(v.name) for v in model.of_kind("param")))


def _substituted(plan: Plan) -> Step:
    names, tails = sorted(plan.joint.deterministic - plan.joint.tails), sorted(plan.joint.tails)
    said = [f"{names_of(*names)}: functions of other variables, substituted where they are used."] if names else []
    if tails:
        said.append(
            f"{names_of(*tails)}: known to lie between two ends, and nothing else is asked of it: integrated out. "
            "The log joint above has the log of the mass that lies there, and the density where it was seen itself."
        )
    title = "What is substituted" if names else "What is integrated out between two ends"
    return Step(title, tuple(map(Say, said)), {"kind": "substitution", "latents": [*names, *tails]})


# ------------------------------------------------------------------ statistics and Q

LONGEST_OF_TWO = 90  # letters of two equations in one line


def statistic_formula(s: Statistic, t: Typeset, drawn: Set[str] = frozenset()) -> Formula:
    """`S[axes] = sum of q times data`; of what is drawn the mean over draws."""
    value = tidy(x.totals([i for i in s.ixs if i not in s.axes], x.mul(*s.factors)), replace(t.known, complete=False))
    value = over_draws(value, drawn)
    return equation(El(STATISTIC.of(s.name), s.axes), value, replace(t, known=replace(t.known, complete=False)))


def _whole(pair: Together, t: Typeset) -> list[Formula]:
    """`S_E_b_b = S_b_b + S_cov_b = sum E[b bᵀ]`, in two lines where it is long."""
    apart = replace(t, known=replace(t.known, complete=False, together={}))
    values = (x.add(pair.first, pair.second), tidy(pair.mean, apart.known))
    parts, whole = (equation(pair.whole, e, apart) for e in values)
    assert isinstance(parts, f.Relation) and isinstance(whole, f.Relation)
    both = f.Relation("=", parts.left, f.Relation("=", parts.right, whole.right))
    return [both] if len(text(both)) <= LONGEST_OF_TWO else [parts, whole]


def _statistics(plan: Plan, t: Typeset) -> Step:
    under = "expectations under q of what multiplies" if has_latents(plan) else "what multiplies"
    say = f"What the E-step hands to the M-step: {under} functions of parameters. "
    say += "In the code each has the name that follows S."
    say += " `S` without one is the model's own." if "S" in taken(plan) else ""
    body: list[Say | Show] = [Say(say)]
    facts = []
    for s in plan.expected.statistics:
        body.append(Show(statistic_formula(s, t, plan.drawn), s.name))
        facts.append({"name": s.name, "shape": [i.dim for i in s.axes]})
    if t.known.together:
        body.append(Say("Below, the mean of a product has one name; the code adds its two parts up apart:"))
        body += [Show(one) for pair in t.known.together.values() for one in _whole(pair, t)]
    notes = [_at_the_origin(plan)]
    if plan.joint.incomplete:
        notes.append("Of a cell that was seen E is its value and cov is 0: what is averaged is what is missing.")
    if plan.weighted is not None:
        notes.append(f"Sums over {plan.weighted.removesuffix('[]')} carry the sample weights, 1 unless given.")
    for dim in sorted(plan.joint.counted):
        notes.append(
            f"Equal rows of {dim.removesuffix('[]')} are one element: sums over them carry how many there are."
        )
    if any("present:" in repr(s.factors) for s in plan.expected.statistics):
        notes.append("A missing value leaves its factor out: it is 0 in these sums.")
    body += [Say(n) for n in notes if n]
    title = "Expected sufficient statistics" if has_latents(plan) else "Sufficient statistics"
    return Step(title, tuple(body), {"kind": "statistics", "code": "e_step", "statistics": facts})


def _at_the_origin(plan: Plan) -> str:
    """What is said of statistics that the code has for its reference points, and no equation holds."""
    added = {p.var for s in plan.expected.statistics for p in s.factors for p in x.walk(p) if isinstance(p, El)}
    if plan.shifts or not any(n in REFERENCE for n in added):
        return ""
    held = {n for t in plan.expected.terms for n in x.variables(t.body)}
    names = [s.name for s in plan.expected.statistics if STATISTIC.of(s.name) not in held]
    listed = names_of(*(spelt(STATISTIC.of(n)) for n in names))
    return f"The code has {listed} for its reference point: with that at 0 they are 0, and no equation holds them."


# ------------------------------------------------------------------ the objective


def _objective(plan: Plan, t: Typeset) -> Step:
    ell = _likelihood(plan)
    prior = any(factor.role in ("param", "potential") for factor in plan.joint.factors)
    ecm = [n for u in plan.updates if u.conditional_on for n in u.params]
    if plan.elimination.parts:
        return _bound_reported(plan)
    say = "What is reported is the log-likelihood of the data, computed in the same pass as the statistics"
    if plan.draws is not None:
        say, ell = objective_of_draws(plan.draws), f.Mean(ell)
    beside, added = _added(plan)
    whole = f.Relation("=", f.Word("ell"), f.plus(ell, *added))
    latent = has_latents(plan)
    if plan.elimination.blocks and plan.draws is None:
        whole = f.Relation("=", whole, f.plus(likelihood(plan, t), *added))
    body: list[Say | Show] = [Say(say + beside), Show(whole)]
    if plan.elimination.blocks:
        seen = (
            ", here where no value is missing" if any("present:" in repr(e.masks) for e in plan.joint.factors) else ""
        )
        said = "It is the sum of what is left where latents are summed out"
        said += " and of the log joint's terms without any" if beside_latents(plan, t) else ""
        body.append(Say(f"{said}{seen}."))
    how = how_it_climbs(plan, has_latents(plan))
    if plan.joint.clouds:
        how += (
            " So the objective rises, but for what quadrature leaves out; evaluated at twice the points, it tells how "
            "much that is."
        )
    elif latent and plan.draws is None:
        how += (
            " So the objective never falls: q makes the bound touch it, and raising the bound raises what it touches."
        )
    if plan.updates:
        body.append(Say(how))
    facts = {
        "kind": "objective",
        "exact": plan.draws is None,
        "priors": prior,
        "climbs": plan.draws is None and not plan.joint.clouds,
        "conditional": ecm,
        "code": "e_step",
    }
    return Step("The objective", tuple(body), facts)


def _added(plan: Plan) -> tuple[str, list[Formula]]:
    """What the objective holds beside the data: the log priors of the parameters, `factor`s; in words, and as terms."""
    model = plan.joint.model
    prior = [v for v in model.of_kind("param") if v.distribution is not None]
    read = {
        n for v in prior for factor in plan.joint.factors if factor.about == v.name for n in x.variables(factor.body)
    }
    held = [v.name for v in prior]
    given = [v.name for v in model.variables if v.name in read - set(held)]
    words, terms = ".", []
    if held:
        words = ", plus the log priors of the parameters."
        terms.append(log_density(held, given))
    if any(x.variables(factor.body) for factor in own_factors(plan).get("", ())):
        words += " What the model adds by `factor` counts as it stands, not normalised."
        terms += [f.Word("factors")] if not model.of_kind("latent") else []
    return words, terms


def _bound_reported(plan: Plan) -> Step:
    """The objective of mean-field."""
    prior = any(factor.role in ("param", "potential") for factor in plan.joint.factors)
    of = "log-likelihood" if plan.joint.as_written.model.of_kind("observed") else "log of Z"
    say = "What is reported is the bound, the right side of the inequality above, not the "
    say += f"{of}, which lies above it by the divergence of q from the posterior{_added(plan)[0]}"
    how = "Neither a factor's update nor an M-step lowers it: each raises the bound with all else held."
    if not plan.updates:
        how = "No factor's update lowers it: each raises the bound with all else held."
    if plan.joint.clouds:
        how += " That holds but for what quadrature leaves out: a sweep under twice the points tells how much that is."
    entropy = f.less(f.Word("A"), f.Mean(f.Word("log joint")))
    body = (
        Say(say),
        Show(_bound_value(plan)),
        Say("The entropy of a factor is its log-normaliser less the expectation of its log joint under the others,"),
        Show(f.Relation("=", f.Plus(((True, f.Mean(f.of("log", f.Word("q")))),)), entropy)),
        Say(how),
    )
    held = [n for u in plan.updates if u.conditional_on for n in u.params]
    facts = {
        "kind": "objective", "exact": False, "priors": prior, "climbs": True, "conditional": held, "code": "e_step",
    }  # fmt: skip
    return Step("The objective", body, facts)


def _bound_value(plan: Plan) -> Formula:
    """`F = E[log p(x, z | theta)] - E[log q(z)] - ...`, a term for each factor of q."""
    model = plan.joint.as_written.model
    taken = {*(v.name for v in model.variables), *(s.name for s in model.sizes)}
    letter = next((c for c in "FLB" if c not in taken), "bound")
    gone = {*plan.joint.multipliers, *plan.joint.tails}
    random = [v.name for kind in ("observed", "latent") for v in model.of_kind(kind) if v.name not in gone]
    factors = [f.Apply(f.Word("q"), (f.Listed(tuple(map(f.Name, p.latents))),)) for p in plan.elimination.parts]
    entropies = [(True, f.Mean(f.Apply(f.Word("log"), (q,)))) for q in factors]
    whole = f.Mean(log_density(random, [v.name for v in model.of_kind("param")]))
    return f.Relation("=", f.Word(letter), f.plus(f.Plus(((False, whole), *entropies)), *_added(plan)[1]))
