"""The first step of a derivation: the log joint density, variable by variable."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Idx, Ix
from emdsl.derive.joint.constraints import HALF_LOG_2PI
from emdsl.derive.joint.factors import Factor
from emdsl.derive.plan import Plan
from emdsl.derive.posteriors.clouds import without_clouds
from emdsl.generate.spec import missing_policy
from emdsl.language import model as m
from emdsl.language.transform import expressions_of, names_in
from emdsl.report import formula as f
from emdsl.report.all_states import in_all_states
from emdsl.report.conditions import followed
from emdsl.report.formula import Formula
from emdsl.report.lets import meanings, read_through, with_names
from emdsl.report.page import Say, Show, Step, names_of
from emdsl.report.sums import apart as parts_of
from emdsl.report.supports import Ends, Support, apart, ends_of
from emdsl.report.tidy import tidy
from emdsl.report.typeset import Typeset
from emdsl.report.unicode import text
from emdsl.report.walking import parts, rebuilt
from emdsl.report.whole_vectors import components, in_cells, in_vectors

Summed = tuple[tuple[Ix, ...], Expr]  # what a term is summed over, and the term
FEW = 12  # states of which each is tried
OURS = {
    "Q": "the expected log joint",
    "q": "the posterior, or what stands for it",
    "J": "the precision of a Gaussian posterior",
    "h": "the linear term of a Gaussian posterior",
    "A": "a posterior's log-normaliser",
    "alpha": "what its step says",
    "beta": "what its step says",
    "Lambda": "what its step says",
    "nu": "what its step says",
    "E": "the mean under q",
}
SPARE: Mapping[tuple[str, ...], Sequence[tuple[str, ...]]] = {  # letters of ours where the model has some of these
    ("J",): [("P",), ("W",), ("H",)],
    ("h",): [("g",), ("l",), ("v",)],
    ("alpha", "beta"): [("a", "b"), ("u", "v"), ("r", "l")],
    ("Lambda", "nu"): [("L", "l"), ("P", "g"), ("W", "w")],
}
CURLED = "calligraphic Q"
OUR_Q = re.compile(
    r"(?<![`\w\[(*/^])Q(?![`\w\[(*/^])(?! [*/^])"
)  # in a sentence; names of the model stand in backticks


def joint_step(plan: Plan, t: Typeset) -> Step:
    model = plan.joint.as_written.model
    joint, lets = with_names(without_clouds(plan.joint.as_written))
    plan = replace(plan, joint=joint)
    gone = {*plan.joint.multipliers, *plan.joint.tails}
    latent = [v.name for v in model.of_kind("latent") if v.name not in gone]
    latent += sorted(plan.drawn)
    random = [*(v.name for v in model.of_kind("observed") if v.name not in plan.drawn), *latent]
    say = ("The complete data have" if latent else "The data have") + " this log density"
    say += ":"
    parts = _joined(_factors(plan, t, lets))
    prior = [v.name for v in model.of_kind("param") if v.distribution is not None]
    free = [v.name for v in model.of_kind("param") if v.distribution is None]
    whole_ = log_density([*random, *prior], free)
    lefts = [left for _, left, _, _ in parts]
    body: list[Say | Show] = [Say(say)]
    if len(lefts) > 1:
        body.append(Show(f.Relation("=", whole_, f.plus(*lefts))))
    body += [Show(f.Relation("=", left, right), about) for about, left, right, _ in parts]
    if lets:
        body += [Say("with"), *(Show(e) for e in meanings(joint.model, lets, t))]
    body += [Say(f"`{v.name}` {v.says}.") for v in plan.joint.model.of_kind("latent") if v.says]
    body += [
        Say(f"The density of {names_of(about)} is 0 but where{',' * ends.startswith('if')} {ends}.")
        for about, _, _, ends in parts
        if ends
    ]
    if any(one.given for one in t.known.supports):
        body.append(Say("Beside these, conditions that hold wherever the density is not 0 are left out."))
    if spikes := [n for n in plan.joint.told if n not in plan.joint.tails]:
        text = f"Where {names_of(*spikes)} is a point, the point is read; what is written of it there holds no "
        body.append(Say(text + "parameter and integrates to 1."))
    if plan.joint.multipliers:
        body.append(Say(_held(plan.joint.multipliers)))
    if any("present:" in repr(factor.masks) for factor in plan.joint.factors):
        told = [v.name for v in model.of_kind("observed") if missing_policy(v, plan) == "complete"]
        cells = in_cells(plan.joint, {about: right for about, _, right, _ in parts})
        but = f", a missing cell of {names_of(*cells)} its component" if cells else ""
        but += ", here and in all that follows"
        but += f"; of {names_of(*told)} the last step tells" if told else ""
        body.append(Say(f"A missing value leaves its term out{but}."))
    return Step("The log joint density", tuple(body), {"kind": "joint", "variables": random})


def _joined(parts: Iterator[tuple[str, Formula, Formula, str]]) -> list[tuple[str, Formula, Formula, str]]:
    """Densities of one name as one: what data tell of two latents that are integrated out."""
    out: list[tuple[str, Formula, Formula, str]] = []
    for about, left, right, ends in parts:
        n = next((n for n, part in enumerate(out) if part[1] == left), None)
        if n is None:
            out.append((about, left, right, ends))
        else:
            first, _, value, own = out[n]
            out[n] = (first, left, f.plus(value, right), " and ".join(e for e in dict.fromkeys((own, ends)) if e))
    return out


def with_points(body: Expr, multipliers: Mapping[str, str]) -> Expr:
    """A log density with `log δ(c)` for what multipliers hold at 0: what they hold, `λ c - log 2π`, is so written; what
    holds nothing, `-λ² / 2 - log(2π) / 2`, is left out."""
    held: dict[El, list[Expr]] = {}
    out: list[Expr] = []
    for term in x.terms_of(body):
        c, factors, sums = parts_of(term)
        found = [n for p in factors for n in x.walk(p) if isinstance(n, El) and n.var in multipliers]
        if not found:
            out.append(term)
        elif found[0] not in factors:
            out.append(x.totals(sums, HALF_LOG_2PI))
        else:
            own = [i for i in sums if i in x.free(found[0])]
            to: dict[Ix, Idx] = {i: Ix(f"{i.dim}#{n}", i.dim) for n, i in enumerate(own)}
            rest = [x.substitute(p, to) for p in factors if p != found[0]]
            leaf = x.substitute(found[0], to)
            assert isinstance(leaf, El)
            held.setdefault(leaf, []).append(x.totals([i for i in sums if i not in own], x.mul(x.Num(c), *rest)))
    for leaf, terms in held.items():
        point = x.add(x.Fn("log", (x.Fn("delta", (x.add(*terms),)),)), x.mul(x.num(2), HALF_LOG_2PI))
        out.append(x.totals([i for i in leaf.idx if isinstance(i, Ix) and "#" in i.name], point))
    return x.add(*out)


def _held(multipliers: Mapping[str, str]) -> str:
    """What has no noise, and how it is held."""
    names = names_of(*multipliers)
    verb = "holds" if len(multipliers) == 1 else "hold"
    return (
        f"Parts of {names_of(*multipliers.values())} have no noise: δ holds them at 0. In what follows {names} {verb} "
        "them, by δ(c) = ∫ exp(i λ c) dλ / 2π: eliminated like a latent, with λ for i λ. Where it is squared it holds "
        "nothing, and integrates to 1."
    )


def _two_meanings(names: Sequence[str]) -> str:
    """Which letters are the model's and ours, and how they are told apart."""
    spelt = {n: text(f.Word(n)) for n in names}
    ours = "; ".join(f"{spelt[n]}{'[...]' if n == 'E' else '(...)'} is {OURS[n]}" for n in names)
    alone = f"The model has {names_of(*spelt.values())} of its own, alone or with an index in equations."
    return f"{alone} With brackets around what it is of, and in sentences: {ours}."


def log_density(random: Sequence[str], given: Sequence[str]) -> Formula:
    """`log p(random | given)`."""
    return density(tuple(map(f.Name, random)), tuple(map(f.Name, given)))


def density(random: tuple[Formula, ...], given: tuple[Formula, ...]) -> Formula:
    """The same of formulas."""
    left: Formula = f.Listed(random)
    if given:
        left = f.Relation("|", left, f.Listed(given))
    return f.Apply(f.Word("log"), (f.Apply(f.Word("p"), (left,)),))


def _factors(plan: Plan, t: Typeset, lets: Sequence[m.Let]) -> Iterator[tuple[str, Formula, Formula, str]]:
    """Variable by variable: its name, `log p(it | what it reads)`, the density, and where it has any."""
    model, known, names = plan.joint.model, ends_of(plan), {let.name for let in lets}
    own, seen_by = own_factors(plan), _seen_by_data(plan)
    told = {n for data in seen_by.values() for n in data}
    found = {about: _shown(factors, plan, known, t) for about, factors in own.items()}
    none = _to_nothing({about: held for about, (held, _) in found.items()}, t)
    for about, factors in ((about, factors) for about, factors in own.items() if about not in none):
        read = {n for factor in factors for e in (*factor.gates, *factor.masks, factor.body) for n in x.variables(e)}
        read = read_through(read, lets)
        of = list(seen_by.get(about, ())) or [about]  # of what is integrated out: the mass of what data tell of it
        if about in {*told, *seen_by}:  # with which of several latents it is: that has no probability of its own
            of += [n for n in none if n in read]
        gone = {*of, about, *names, *plan.joint.multipliers, *plan.joint.tails}
        given = [v.name for v in model.variables if v.name in read - gone]
        left = log_density(of, given) if about else f.Word("factors")
        held, ends = found[about]
        yield about or "factor", left, f.plus(*(t.sum(plates, e, {}) for plates, e in held)), ends


def _shown(factors: Sequence[Factor], plan: Plan, known: Ends, t: Typeset) -> tuple[list[Summed], str]:
    """What factors add up to, and where it is not 0."""
    seen = [replace(factor, body=with_points(factor.body, plan.joint.multipliers)) for factor in factors]
    bare = [apart(factor, known) for factor in seen]
    shown = [summed(factor, e, t) for factor, (e, _) in zip(seen, bare, strict=True)]
    shown = [in_vectors(*e, components(factor, plan.joint.model), t) for factor, e in zip(seen, shown, strict=True)]
    held = [(plates, e) for plates, e in in_all_states(shown, t.known) if e != x.ZERO] or shown[:1]
    return held, _where([s for _, own in bare for s in own], t)


def _to_nothing(found: Mapping[str, Sequence[Summed]], t: Typeset) -> list[str]:
    """Whose densities are numbers that together are 1: the same probability of each state, beside their number."""
    numbers = {n: held for n, held in found.items() if all(not x.variables(e) and not x.free(e) for _, e in held)}
    whole: dict[tuple[str, ...], list[Expr]] = {}
    for plates, e in (part for held in numbers.values() for part in held):
        whole.setdefault(tuple(i.dim for i in plates), []).append(e)
    return list(numbers) if all(tidy(x.add(*own), t.known) == x.ZERO for own in whole.values()) else []


def _where(ends: Sequence[Support], t: Typeset) -> str:
    """`y[n] > 0 and y[n] < high[n]`; what holds where something else does comes with that."""

    def said(conditions: Iterable[Expr]) -> str:
        return " and ".join(dict.fromkeys(text(t.condition(c, t.letters.extend({}, x.free(c)))) for c in conditions))

    every: dict[frozenset[Expr], list[Expr]] = {}
    for s in ends:
        every.setdefault(s.given, []).append(s.holds)
    parts = ((f"if {said(sorted(given, key=repr))}, " if given else "") + said(own) for given, own in every.items())
    return ", and ".join(parts)


def own_factors(plan: Plan) -> dict[str, list[Factor]]:
    """The factors of each variable; under "" those that the model adds by `factor`."""
    own: dict[str, list[Factor]] = {}
    seen_by = _seen_by_data(plan)
    made = {v.name for v in plan.joint.model.of_kind("latent") if v.says}
    told = {n for data in seen_by.values() for n in data}
    for factor in (*plan.joint.factors, *plan.joint.settled):
        about = factor.about or _bounded_by(factor, plan)
        if not about and made & {
            n for g in factor.gates for n in x.variables(g)
        }:  # that others lie beyond what is seen
            about = next(iter(told & x.variables(factor.body)), "")
        data = seen_by.get(about, ())
        own.setdefault(data[0] if len(data) == 1 else about, []).append(factor)
    return own


def _seen_by_data(plan: Plan) -> dict[str, tuple[str, ...]]:
    """Of latents that are integrated out, the data that tell of them."""
    return {n: _seen_by(n, plan) for n in plan.joint.tails}


def _seen_by(latent: str, plan: Plan) -> tuple[str, ...]:
    """The data that tell of a latent."""
    model = plan.joint.as_written.model
    named = ((v.name, {n for e in expressions_of(v.distribution) for n in names_in(e)})
             for v in model.of_kind("observed") if v.distribution is not None)  # fmt: skip
    return tuple(n for n, read in named if latent in read_through(read, model.lets))


def _bounded_by(factor: Factor, plan: Plan) -> str:
    """The latent whose bounds a factor is; "" for any other factor."""
    hidden = {*plan.drawn, *(v.name for v in plan.joint.model.of_kind("latent"))}
    return next(iter(x.variables(factor.body) & hidden), "") if factor.role == "bound" else ""


def summed(factor: Factor, body: Expr, t: Typeset) -> tuple[tuple[Ix, ...], Expr]:
    """What a factor is summed over, and what is summed: without gates whose states nothing else holds."""
    plates, gates, masks = factor.plates, _in_time(factor.gates), factor.masks
    body = tidy(followed([*masks, body], t.known.whole)[-1], t.known)
    for mask in masks:  # `[k = l]` of two states: one letter
        match mask:
            case x.Fn("eq", (x.Val(a), x.Val(b))) if a != b and a in plates and b in plates:
                plates, masks = tuple(i for i in plates if i != b), tuple(e for e in masks if e != mask)
                gates = tuple(g for g in (x.substitute(g, {b: a}) for g in gates) if isinstance(g, x.Sel))
                masks, body = tuple(x.substitute(e, {b: a}) for e in masks), x.substitute(body, {b: a})
    if (states := _state_by_state(plates, gates, body)) is not None:
        plates, body = states
        return plates, tidy(x.mul(*(g for g in gates if g.at in plates), *masks, body), t.known)
    plates, gates, masks, body = _at_the_one_state(plates, gates, masks, body)
    held = {*gates, *masks}
    body = x.rebuild(body, lambda n: n.then if isinstance(n, x.Where) and n.cond in held else None)
    needed = {*x.free(x.mul(*masks, body))}
    certain = [g for g in gates if isinstance(g.at, Ix) and g.at not in needed and _once(g.at, gates)]
    plates = tuple(i for i in plates if i not in {g.at for g in certain})
    return plates, tidy(x.mul(*(g for g in gates if g not in certain), *masks, body), t.known)


def _in_time(gates: Sequence[x.Sel]) -> tuple[x.Sel, ...]:
    """Selectors of earlier elements first: `[z[t - 1] = k] [z[t] = l]`."""

    def step(g: x.Sel) -> int:
        values = (i.value for i in (g.of.idx if isinstance(g.of, El) else ()) if isinstance(i, x.DataIx))
        return min((int(n.value) for v in values for n in x.terms_of(v) if isinstance(n, x.Num)), default=0)

    return tuple(sorted(gates, key=step))


def _state_by_state(plates: tuple[Ix, ...], gates: tuple[x.Sel, ...], body: Expr) -> tuple[tuple[Ix, ...], Expr] | None:
    """`[z = k] (k a + b)` of two states is `[z = 1] a + b`; None where a latent's state stands as no number."""
    numbers = {n.ix for n in x.walk(body) if isinstance(n, x.Val)}
    two = [g for g in gates if isinstance(g.at, Ix) and g.at.dim == "2" and g.at in {*plates} & numbers]
    others = {i for e in (*(g for g in gates if g not in two), *(g.of for g in two)) for i in x.free(e)}
    if not 0 < len(two) <= 2 or {g.at for g in two} & others or any(not _once(g.at, gates) for g in two):
        return None
    out: list[Expr] = []
    for addend in x.terms_of(body):
        held = [g for g in two if g.at in x.free(addend)]
        for states in product(range(2), repeat=len(held)):
            at: dict[Ix, Idx] = {g.at: k for g, k in zip(held, states, strict=True) if isinstance(g.at, Ix)}
            one = x.substitute(addend, at)
            out.append(x.mul(*(x.substitute(g, at) for g in held), one))
    return tuple(i for i in plates if all(g.at != i for g in two)), x.add(*out)


def _at_the_one_state(
    plates: tuple[Ix, ...], gates: tuple[x.Sel, ...], masks: tuple[Expr, ...], body: Expr
) -> tuple[tuple[Ix, ...], tuple[x.Sel, ...], tuple[Expr, ...], Expr]:
    """`[z = k] k f` of two states is `[z = 1] f`: where only one state leaves anything, it stands in place of a sum."""
    for i in [i for i in plates if i.dim.isdigit() and int(i.dim) <= FEW and any(g.at == i for g in gates)]:
        inside = [p for p in (*masks, *x.factors_of(body)) if i in x.free(p)]
        left = [k for k in range(int(i.dim)) if all(x.substitute(p, {i: k}) != x.ZERO for p in inside)]
        if len(left) == 1 and inside:
            at: dict[Ix, Idx] = {i: left[0]}
            plates = tuple(j for j in plates if j != i)
            gates = tuple(g for g in (x.substitute(g, at) for g in gates) if isinstance(g, x.Sel))
            masks = tuple(p for p in (x.substitute(p, at) for p in masks) if p != x.ONE)
            body = x.substitute(body, at)
    return plates, gates, masks, body


def _once(i: Idx, gates: Sequence[x.Sel]) -> bool:
    return sum(g.at == i for g in gates) == 1


def _curled(step: Step) -> Step:
    """The step with Bishop's letter for the expected log joint, beside a Q of the model's."""
    exchanged = (
        replace(e, formula=rebuilt(e.formula, lambda p: f.Word(CURLED) if p == f.Word("Q") else None))
        if isinstance(e, Show)
        else e
        if e.reason
        else Say(OUR_Q.sub("𝒬", e.text))
        for e in step.body
    )
    return replace(step, body=tuple(exchanged))


def told_apart(plan: Plan, found: list[Step]) -> list[Step]:
    """The first step says which letters are the model's and ours, where any of ours is used."""
    model = plan.joint.model
    named = [v.name for v in model.variables] + [v.name for v in model.lets] + [s.name for s in model.sizes]
    named += [p.size.name if isinstance(p.size, m.Ragged) else str(p.size) for v in model.variables for p in v.plates]
    own = {text(f.Name(n)) for n in named}
    shown = [p for s in found for e in s.body if isinstance(e, Show) for p in parts(e.formula)]
    called = {p.function.text for p in shown if isinstance(p, f.Apply) and isinstance(p.function, f.Word)}
    called |= {"E"} if any(isinstance(p, f.Mean) for p in shown) else set()
    shared = [n for n in OURS if {n, text(f.Word(n))} & own and n in called]
    if "Q" in shared:
        shared.remove("Q")
        found = [_curled(step) for step in found]
        said = Say(f"The model has `Q` of its own: 𝒬 is {OURS['Q']}.")
        found[0] = replace(found[0], body=(*found[0].body, said))
    taken = own | {p.index for v in model.variables for p in v.plates}
    for letters in [pair for pair in SPARE if {*pair} & {*shared}]:
        other = next((to for to in SPARE[letters] if not taken & {*to}), None)
        if other is not None:
            found = [_lettered(step, dict(zip(letters, other, strict=True))) for step in found]
            shared = [n for n in shared if n not in letters]
    first, body = found[0], list(found[0].body)
    if shared:
        body.append(Say(_two_meanings(shared)))
    if {"π", "pi"} & own and any(isinstance(p, f.Word) and p.text == "pi" for p in shown):
        body.append(Say("The model has π of its own. Beside a 2 under a logarithm, log(2 π ...), it is 3.14159...."))
    return [replace(first, body=tuple(body)), *found[1:]]


def _lettered(step: Step, to: Mapping[str, str]) -> Step:
    """The step with other letters of ours, where the model has these; names of the model stand in backticks."""
    spelt = {text(f.Word(n)): new for n, new in to.items()}
    ours = re.compile(rf"(?<![`A-Za-z0-9_])({'|'.join(spelt)})(?![`A-Za-z0-9_])")

    def said(part: str) -> str:
        return ours.sub(lambda met: spelt[met.group()], part)

    def formula(p: Formula) -> Formula | None:
        return f.Word(to[p.text]) if isinstance(p, f.Word) and p.text in to else None

    body = (
        replace(e, formula=rebuilt(e.formula, formula))
        if isinstance(e, Show)
        else e
        if e.reason
        else Say("`".join(part if n % 2 else said(part) for n, part in enumerate(e.text.split("`"))))
        for e in step.body
    )
    return replace(step, body=tuple(body))
