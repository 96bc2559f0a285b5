"""The steps of a derivation that find posteriors, block by block in the order of elimination."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Ix
from emdsl.derive.algebra.made import LOG_NORMALISER, Q
from emdsl.derive.algebra.show import show
from emdsl.derive.joint.factors import Cloud, Configurations, Events, Factor, LogJoint
from emdsl.derive.joint.plates import home_of
from emdsl.derive.joint.records import statistic_of
from emdsl.derive.joint.sides import ASKED, REST
from emdsl.derive.joint.terms import Term, merge, opened, settle
from emdsl.derive.numbering import interval, posterior_parts
from emdsl.derive.plan import Plan
from emdsl.derive.posteriors.block import Block, place
from emdsl.derive.posteriors.blocks import messages
from emdsl.derive.posteriors.chains import Neighbours, Placed
from emdsl.derive.posteriors.configurations import uneven
from emdsl.derive.posteriors.discrete import placements
from emdsl.derive.posteriors.fields import without_gates
from emdsl.derive.posteriors.networks import cliques_of
from emdsl.derive.posteriors.quadrature import counts
from emdsl.derive.posteriors.scaled import is_matrix
from emdsl.derive.posteriors.slopes import components
from emdsl.report import formula as f
from emdsl.report.averaged import averaged_over_others, squares_opened
from emdsl.report.chains import chain_lines
from emdsl.report.explicit import joined
from emdsl.report.formula import Formula, under
from emdsl.report.gathered import gathered
from emdsl.report.gaussian import field_lines, gaussian_lines, roles_of, within
from emdsl.report.indices import Names
from emdsl.report.intervals import cut_lines, matrix_lines
from emdsl.report.moments import moment_lines, read_of
from emdsl.report.networks import network_steps
from emdsl.report.page import Say, Show, Step, in_part, names_of, worded
from emdsl.report.pieces import statistic
from emdsl.report.points import placed
from emdsl.report.products import second_moments
from emdsl.report.squares import closed_in_rows, closed_squares
from emdsl.report.sums import closed
from emdsl.report.supports import apart, ends_of, left_out
from emdsl.report.tidy import tidy
from emdsl.report.typeset import Typeset
from emdsl.report.unicode import text
from emdsl.report.vectors import tensor


def posterior_step(plan: Plan, block: Block, t: Typeset) -> Step:
    """What q of a block is, and why."""
    told = [n for n in block.latents if n not in plan.joint.multipliers]
    latents = names_of(*told)
    own = plan.joint.configurations
    mine = own is not None and own.name in block.latents
    choice = plan.choices[own.latents[0] if own is not None and mine else block.latents[0]]
    why = worded(_new(plan, block, choice.reason))
    body: list[Say | Show] = [Say(f"{latents}: {choice.method} ({why}).", reason=True), *_inside(plan, block)]
    body += [Say(_configured(own))] if own is not None and mine else []
    body += [Say(said) for said in _events(plan.joint.events_of(block.name))]
    names = block_names(block, t)
    counted = next(
        (names[s] for n, s in zip(block.latents, block.states, strict=False) if n in plan.joint.in_clouds), "i"
    )
    mine_points = [c for c in plan.joint.clouds if c.name in block.latents]
    body += [line for c in mine_points for line in _points(c, plan.joint, counted, t)]
    body += [line for c in plan.joint.clouds if c.name in block.latents for line in _ends(c, plan.joint, t)]
    body += list(_discrete(plan, block, t) if block.states else _continuous(plan, block, t))
    facts = {"kind": "posterior", "latents": told, "method": choice.method, "reason": choice.reason}
    facts["code"] = "e_step" if plan.elimination.parts else "expectations"
    return Step(f"The posterior of {latents}", tuple(body), facts, posterior_parts(block, plan.joint))


def _new(plan: Plan, block: Block, reason: str) -> str:
    """A reason without why nothing above would do, where a step before this one has said so."""
    own, mark, refused = reason.partition("; not exact: ")
    before = [plan.choices[n].reason for b in earlier(plan, block) for n in b.latents if n in plan.choices]
    if not mark:
        return own
    if any(refused in r for r in before):
        return own
    first, between, more = refused.partition("; not quadrature: ")
    return f"{own}{mark}{first}" if between and any(f"{between}{more}" in r for r in before) else reason


def _configured(found: Configurations) -> str:
    """What the states of a configuration are."""
    short = uneven(found, found.written.model)
    each = ", ".join(f"`configured {n}` are the states of {n} in it" for n in found.latents)
    return (
        f"Its states are all configurations of the elements of {names_of(*found.latents)}: {each}. The probability "
        "that an element is in a state is the sum over the configurations in which it is."
        + "".join(f" Where {n} has fewer elements, `beyond {n}` leaves those that are 0 after the last." for n in short)
    )


def _events(found: Events | None) -> Iterator[str]:
    """Why an element that is several events is one."""
    if found is None:
        return
    several = show(x.mul(x.Num(found.coef), *found.number))
    yield f"It says of which addend of the sum in {show(found.log)} an event is: the sum over all addends is that sum."
    if several != "1":
        yield f"An element stands for {several} events, which are alike: in all sums each counts so often."


def _points(cloud: Cloud, joint: LogJoint, letter: str, t: Typeset) -> Iterator[Say | Show]:
    """What stands for an integral; `letter` is what counts the points."""
    nth = text(f.Nth(f.Name(cloud.name), (f.Name(letter),)))
    yield Say(
        f"It is held at points: {nth} is the {letter}-th of an element, volume({nth}) the volume that it "
        f"stands for, and q({nth}) its share of the posterior. The sum over the points is the integral: "
        f"E[f({cloud.name})] is the sum of q({nth}) f({nth})."
    )
    if counts(cloud, joint):
        yield Say(
            f"The points are counts, one after the other from where this log joint is 40 below its top to where it is "
            f"again; where these are more than the {4 * cloud.points + 1} points, every s-th of them, of volume s."
        )
    elif cloud.method == "quadrature":
        yield from placed(cloud, joint, letter, t.letters.taken)


def _ends(cloud: Cloud, joint: LogJoint, t: Typeset) -> Iterator[Say | Show]:
    """Between which ends data leave the points, where they do."""
    if not cloud.ends or counts(cloud, joint):
        return
    yield Say(f"Data leave {names_of(*cloud.latents)} between two ends, inside which the points lie:")
    for c, sides in zip(components(cloud, joint), cloud.ends, strict=True):
        home = home_of(joint.model.variable(c.latent))
        names = t.letters.extend({}, home)
        latent = t.of(El(c.latent, home if c.at is None else (*home, c.at)), names)
        for name, end in zip(("low", "high"), sides, strict=True):
            yield Show(f.Relation("=", f.Apply(f.Word(name), (latent,)), t.of(tidy(end, t.known), names)), part="ends")


def earlier(plan: Plan, block: Block) -> tuple[Block, ...]:
    """The blocks that are eliminated before this one."""
    every = plan.elimination.blocks
    return every[: [b.name for b in every].index(block.name)]


def _inside(plan: Plan, block: Block) -> Iterator[Say]:
    """What was integrated out, and stands in this block as a function of it."""
    for b in earlier(plan, block):
        if not any(_touches(m, block) for m in messages(b)):
            continue
        name = names_of(*b.latents)
        if b.scale is None:
            given = "" if block.record is not None else ", given the state,"
            yield Say(f"{name} is integrated out first: its log-normaliser A{given} stands for its terms.")
        else:
            family = b.record.name if b.record else "Normal"
            scaled = f"{name} is integrated out first. It is {family}, and its precision is this latent times a number,"
            yield Say(f"{scaled} so what is left is linear in the statistics here.")
            if b.by_pattern:
                yield Say(
                    "`fit` is hᵀ J⁻¹ h at scale 1 (less what the cells seen add), `free` how many numbers are free."
                )
            elif b.gaussian is None:
                yield Say(
                    "`location` is its mean J⁻¹ h; at scale 1, `variance` is its covariance J⁻¹ and `fit` is hᵀ J⁻¹ h."
                )


def closed_terms(plan: Plan, block: Block) -> list[Placed]:
    """The terms that hold a block, in the block's own indices: squares closed, earlier blocks integrated out."""
    ends = ends_of(plan)
    if plan.elimination.parts:
        if (whole := _averaged(plan, block)) is not None:
            return whole
        roles = block.roles or ("",) * len(block.terms)
        every = zip(block.terms, roles, strict=True)
        return [Placed(term, role) for term, role in every if not left_out(term, ends)]
    before = earlier(plan, block)
    gone = {n for b in before for n in b.latents}
    side = dict.fromkeys(block.latents, ASKED) | dict.fromkeys(gone, "G")
    found: list[Term] = [m for b in before for m in messages(b)]
    densities = {b.name for b in before if b.normalised}
    for factor in (each for each in _about(plan, block) if each.about not in densities):
        for c, factors, sums in opened(apart(factor, ends)[0], lambda n: side.get(n, REST)):
            number, rest = x.split_number(x.mul(*factors))
            kept = tuple(e for e in x.factors_of(rest) if e != x.ONE)
            found.append(settle(Term(c * number, factor.gates, factor.masks + kept, factor.plates + sums)))
    out: list[Placed] = []
    for term in found:
        if _touches(term, block) and not any(_touches(term, b) for b in before):
            out += _placed(term, block, _gates(block))
    return out


def _averaged(plan: Plan, block: Block) -> list[Placed] | None:
    """The terms of a factor of q, squares within means closed; None where only the opened ones are known."""
    ends = ends_of(plan)
    factors = [replace(factor, body=apart(factor, ends)[0]) for factor in _about(plan, block)]
    found = averaged_over_others(plan, block, factors)
    placed = [_placed(term, block, _gates(block)) for term in found or ()]
    return [p for own in placed for p in own] if found is not None and all(placed) else None


def _gates(block: Block) -> Neighbours:
    return {(n.of.var, n.of.idx): n.at for n in block.neighbours if isinstance(n.of, El) and isinstance(n.at, Ix)}


def _about(plan: Plan, block: Block) -> list[Factor]:
    """The factors that read a latent of a block, in order: no other leaves a term that touches it."""
    read = {id(factor) for n in block.latents for factor in plan.joint.holding.get(n, ())}
    return [factor for factor in plan.joint.factors if id(factor) in read]


def _placed(term: Term, block: Block, gates: Neighbours) -> list[Placed]:
    """A term in the block's own indices, with its roles; nothing where it does not fit as it stands."""
    if block.network:
        return [Placed(term, "")]
    if block.field is not None:
        bare = without_gates(term, block.latents, block.field, dict(gates), {})
        return [Placed(bare, "")] if isinstance(bare, Term) else []
    if block.states:
        found = placements(term, block, gates)
        return [] if isinstance(found, str) else found
    one = place(term, block.latents, block.home, block.states, gates)
    return [Placed(one, "")] if isinstance(one, Term) else []


def _touches(t: Term, block: Block) -> bool:
    gated = any(isinstance(g.of, El) and g.of.var in block.latents for g in t.gates)
    return gated or any(n in block.latents for e in t.factors for n in x.variables(e))


def block_names(block: Block, t: Typeset) -> Names:
    return t.letters.extend({}, (*block.home, *block.own, *block.states, *block.gates))


def _inner(term: Term, block: Block) -> Expr:
    held = {*block.home, *block.own, *block.states, *block.gates}
    return x.totals([i for i in term.ixs if i not in held], term.body)


def _discrete(plan: Plan, block: Block, t: Typeset) -> Iterator[Say | Show]:
    if block.network:
        closed = _averaged(plan, block) if plan.elimination.parts else closed_terms(plan, block)
        terms = [p.term for p in closed or ()]
        found = block.network if closed is None else cliques_of(terms, block.latents, plan.joint.levels)
        yield from network_steps(plan, block, () if isinstance(found, str) else found, t)
        return
    if block.chain is not None:
        yield from chain_lines(block, closed_terms(plan, block), t)
        return
    names = block_names(block, t)
    q = _given_gates(t.of(El(Q.of(block.name), (*block.states, *block.gates, *block.home)), names), block, t, names)
    total = tidy(x.add(*(_inner(p.term, block) for p in closed_terms(plan, block))), t.known)
    shown = t.of(closed_squares(closed_in_rows(total)), names)
    yield Show(f.Relation("=", f.Apply(f.Word("log"), (q,)), f.plus(shown, f.Word("const"))), part="joint")
    share = "bound" if plan.elimination.parts else "log-likelihood"
    left = text(t.of(El(LOG_NORMALISER.of(block.name), (*block.gates, *block.outside)), names))
    told = f"the block's share of the {share}" if not block.gates else "the log-normaliser given the state"
    yield Say(
        f"The constant makes the probabilities sum to one; its negative, {left}, is the log of the sum over all "
        f"states of exp of the rest: {told}."
    )


def _given_gates(q: Formula, block: Block, t: Typeset, names: Names) -> Formula:
    """`q(c[n] = m | z[n] = k)`: what is found of a block within a state is its probability given that state."""
    given = t.gates(block, {}, names)
    if not given or not isinstance(q, f.Apply):
        return q
    own = tuple(e for e in q.arguments if e not in given)
    return f.Apply(q.function, (f.Relation("|", f.Listed(own), f.Listed(tuple(given))),))


def _continuous(plan: Plan, block: Block, t: Typeset) -> Iterator[Say | Show]:
    if block.turns:
        yield Say(
            f"q is a product over the elements of {block.name}. One is taken after the other, with the expectations of "
            "those that it is multiplied by; elements that no row holds together are taken side by side."
        )
    if block.gaussian is not None:
        yield from _gaussian(plan, block, t)
        return
    assert block.record is not None
    names, family = block_names(block, t), block.record.name
    latent = t.of(El(block.name, (*block.home, *block.own)), names)
    whose = within(block, t, names)
    yield Say(f"{whose} log joint is a sum of natural parameters times statistics, which are those of {family}:")
    naturals = {name: x.add(*parts) for name, parts in _natural(plan, block).items() if name}
    matrix = t.named(El(block.name, (*block.home, *block.own)), block.home, names)
    for name, value in naturals.items():
        short = _short(value, t)
        eta = tensor(t, short, block.own, names) if block.own and name in ("", "id") else None
        of = matrix if eta is not None or name == "logdet" else latent
        found_eta = t.of(short, names) if eta is None else eta
        yield Show(
            f.Relation("=", f.Times((f.Word("coefficient of"), statistic(name, of))), found_eta), part="naturals"
        )
    yield from in_part("posterior", _known(plan, block, naturals, t, names))


def _gaussian(plan: Plan, block: Block, t: Typeset) -> Iterator[Say | Show]:
    fixed = (*block.home, *block.gates)
    found = roles_of(block, merge([p.term for p in closed_terms(plan, block)], plan.expected.symmetry, fixed))
    if plan.elimination.parts or (block.scale is not None and is_matrix(block)):
        found = list(block.averaged)
    yield from field_lines(block, block.field, found, t) if block.field else gaussian_lines(block, found, t)


def _known(plan: Plan, block: Block, naturals: Mapping[str, Expr], t: Typeset, names: Names) -> Iterator[Say | Show]:
    """A posterior of a known family by that family's arguments, and what is expected of it."""
    assert block.record is not None
    family = block.record.name
    matrix = t.named(El(block.name, (*block.home, *block.own)), block.home, names)
    if (ends := interval(block)) is not None:
        short = {name: _short(value, t) for name, value in naturals.items()}
        yield from cut_lines(*ends, short, read_of(plan, block), block, t, names)
        return
    if block.cuts:
        yield Say("It is cut to the intervals where the conditions on it hold: a truncated Normal.")
    if block.scale is None and block.record.arguments:
        yield from _arguments(block, naturals, names, t)
        for mean, value in squares_opened(x.add(*naturals.values()), plan, block) if plan.elimination.parts else ():
            inner = t.letters.extend(names, x.free(mean))
            yield Show(f.Relation("=", t.of(mean, inner), t.of(tidy(value, t.known), inner)))
        yield from moment_lines(plan, block, t, names)
        return
    if block.name in plan.joint.incomplete:
        rest = "1" if block.total is None else show(block.total)
        yield Say(f"Cells that were seen stay as they are. What they leave of {rest}, the missing ones share: {family} "
                  "of what is left, with the natural parameters of the missing cells.")  # fmt: skip
        return
    if block.scale is None and family == "Wishart" and set(naturals) <= {"logdet", "id"}:
        yield from matrix_lines(matrix, naturals, block, t, names)
        return
    yield Say(f"So q is {family} with these natural parameters; its moments and log-normaliser A are the family's.")


def _arguments(block: Block, naturals: Mapping[str, Expr], names: Names, t: Typeset) -> Iterator[Say | Show]:
    """The posterior's arguments as the family has them; the mean of one that is symmetric about it."""
    assert block.record is not None
    latent = t.of(El(block.name, (*block.home, *block.own)), names)
    gates = t.gates(block, {}, names)
    yield Say(f"So q is {block.record.name}, with")
    for argument, statistic_name, factor, constant in block.record.arguments:
        value = x.add(x.mul(x.num(factor), naturals.get(statistic_name, x.ZERO)), x.num(constant))
        left = f.Apply(f.Word(argument), (f.given(latent, gates),))
        yield Show(f.Relation("=", left, t.of(_short(value, t), names)))
        if statistic_name == "square":
            top = t.of(_short(naturals.get("id", x.ZERO), t), names)
            yield Show(f.Relation("=", f.Mean(latent, f.Listed(tuple(gates)) if gates else None), under(top, left)))


def _short(value: Expr, t: Typeset) -> Expr:
    """A natural parameter as a person would write it: sums over the same rows as one, one denominator once."""
    short = gathered(second_moments(closed(closed_squares(tidy(value, t.known))), t))
    return x.rebuild(short, lambda n: tidy(joined(n), t.known) if isinstance(n, x.Add) and n is not short else None)


def _natural(plan: Plan, block: Block) -> dict[str, list[Expr]]:
    """Statistic -> the parts of its natural parameter, squares closed where that can be."""
    found: dict[str, list[Expr]] = {}
    whole = _averaged(plan, block) if plan.elimination.parts else closed_terms(plan, block)
    for term in merge([p.term for p in whole or ()], plan.expected.symmetry):
        role = statistic_of(term, block.name, block.home, block.own)
        if isinstance(role, str):
            break
        found.setdefault(role.name, []).append(_inner(role.rest, block))
    else:
        if whole is not None:
            return found
    found = {}
    for name, opened_term in block.averaged:
        if isinstance(name, str):
            found.setdefault(name, []).append(_inner(opened_term, block))
    return found
