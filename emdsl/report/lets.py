"""The `let`s of a model under their own names: `y - fit[n]`, and `fit[n] = ...` beside it.

What is derived holds no `let`s: it is opened. So the joint is expanded a second time from a model in
which each such `let` is a given of its shape.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import Expr, Ix
from emdsl.derive.algebra.made import MEAN
from emdsl.derive.joint.element import Tensors
from emdsl.derive.joint.factors import LogJoint
from emdsl.derive.joint.joint import expand
from emdsl.derive.joint.spikes import is_point_mass
from emdsl.errors import ModelError
from emdsl.language import model as m
from emdsl.language.kinds import DomainKind
from emdsl.language.transform import names_in
from emdsl.report import formula as f
from emdsl.report.folded import Meaning
from emdsl.report.formula import Formula
from emdsl.report.known import Known
from emdsl.report.spelled import spelled
from emdsl.report.tidy import tidy
from emdsl.report.vectors import tensor
from emdsl.report.writer import Writer

DIRECT = ("positive", "unit", "simplex", "spd")  # domains of arguments that say what a `let` is


def with_names(joint: LogJoint) -> tuple[LogJoint, tuple[m.Let, ...]]:
    """The joint in which `let`s stand under their names, and these; itself where there is nothing to name."""
    if joint.multipliers or joint.told:
        return joint, ()
    model = spelled(joint.model)
    lets = _nameable(joint, model)
    if not lets:
        return joint, ()
    names = {let.name for let in lets}
    domains = _domains(model)
    given = [
        m.Variable("given", let.name, let.plates, (), m.Domain(domains.get(let.name, "real"), let.body.shape))
        for let in lets
    ]
    rest = tuple(let for let in model.lets if let.name not in names)
    try:
        return expand(replace(model, variables=(*model.variables, *given), lets=rest)), lets
    except ModelError:  # what a density reads through a `let`, it must see
        return joint, ()


def with_tensors_named(joint: LogJoint, unknown: Collection[str]) -> LogJoint:
    """The joint in which vectors and matrices that `let`s make of all but what is unknown stand under their names, as
    data do."""
    made = (joint.multipliers, joint.told, joint.tails, joint.clouds, joint.incomplete, joint.counted, joint.events)
    if any(made) or joint.configurations is not None:
        return joint
    model = spelled(joint.model)
    if not model.lets:
        return joint
    lets = [let for let in _nameable(joint, model) if let.body.shape and not _inside(let, model) & {*unknown}]
    if not lets:
        return joint
    names, domains = {let.name for let in lets}, _domains(model)
    given = [
        m.Variable("given", let.name, let.plates, (), m.Domain(domains.get(let.name, "real"), let.body.shape))
        for let in lets
    ]
    rest = tuple(let for let in model.lets if let.name not in names)
    try:
        return expand(replace(model, variables=(*model.variables, *given), lets=rest))
    except ModelError:
        return joint


def _inside(let: m.Let, model: m.ModelText) -> set[str]:
    return read_through(names_in(let.body), model.lets)


def read_through(names: set[str], lets: Sequence[m.Let]) -> set[str]:
    """What is read, by way of `let`s as well."""
    bodies = {let.name: let.body for let in lets}
    out, waiting = set(names), list(names)
    while waiting:
        name = waiting.pop()
        new = (names_in(bodies[name]) if name in bodies else set()) - out
        out |= new
        waiting += new
    return out


def meanings(model: m.ModelText, lets: Sequence[m.Let], t: Writer) -> Iterator[Formula]:
    """`fit[n] = [x[n]' a, w[n]' b]` of each."""
    tensors = Tensors(model)
    for let in lets:
        scope, home, _ = tensors.enter(let.plates)
        own = tuple(x.fresh(str(d)) for d in let.body.shape)
        tensors.begin()
        body = tidy(tensors.element(let.body, own, scope), replace(t.known, meanings=()))
        names = t.letters.extend({}, home)
        places = [p for loop in let.plates for p in t.index(scope.loops[loop.index], names)]
        whole = tensor(t, body, own, names) if own else t.of(body, names)
        if whole is None:
            names = t.letters.extend(names, own)
            places += [p for i in own for p in t.index(i, names)]
            whole = t.of(body, names)
        yield f.Relation("=", f.at(f.Name(let.name), *dict.fromkeys(places)), whole)


def _nameable(joint: LogJoint, model: m.ModelText) -> tuple[m.Let, ...]:
    """`let`s of numbers that densities read as values alone, and that are neither constants nor hold a state."""
    lets = {let.name: let for let in model.lets}
    hidden = {*joint.discrete, *joint.deterministic}
    asked = {n for e in _asked(model) for n in read_through(names_in(e), model.lets)}
    read = {n for v in model.variables if v.distribution for e in _arguments(v.distribution) for n in names_in(e)}
    reached = read_through(read, model.lets) - asked

    def named(let: m.Let) -> bool:
        inside = read_through(names_in(let.body), model.lets)
        return let.name in reached and bool(inside - lets.keys()) and not inside & hidden

    return tuple(let for let in model.lets if named(let))


def _arguments(dist: m.Dist) -> Iterator[m.Expr]:
    """The arguments of every branch."""
    if isinstance(dist, m.Branch):
        yield from (*_arguments(dist.then), *_arguments(dist.other))
    else:
        yield from (e for _, e in dist.args)


def _asked(model: m.ModelText) -> Iterator[m.Expr]:
    """What says which: conditions, indices, bounds, points, factors."""
    for plates in [[v.plates for v in own] for own in (model.variables, model.lets, model.potentials)]:
        yield from (p.condition for nest in plates for p in nest if p.condition is not None)
    for v in model.variables:
        yield from (e for e in (v.domain.lower, v.domain.upper, v.default) if e is not None)
        yield from _of_branches(v.distribution) if v.distribution is not None else ()
    yield from (p.expression for p in model.potentials)
    inside = [e for v in model.variables if v.distribution for e in _arguments(v.distribution)]
    for e in (n for whole in (*inside, *(let.body for let in model.lets)) for n in m.walk(whole)):
        match e:
            case m.If(cond=cond):
                yield cond
            case m.SumOver(cond=cond) if cond is not None:
                yield cond
            case m.Index(args=args):
                yield from args


def _of_branches(dist: m.Dist) -> Iterator[m.Expr]:
    if isinstance(dist, m.Branch):
        yield dist.cond
        yield from (*_of_branches(dist.then), *_of_branches(dist.other))
    elif is_point_mass(dist.family):
        yield from (e for _, e in dist.args)


def _domains(model: m.ModelText) -> Mapping[str, DomainKind]:
    """What arguments say of a `let` that stands there alone."""
    out: dict[str, DomainKind] = {}
    for v in model.variables:
        for call in _calls(v.distribution) if v.distribution is not None else ():
            domains = {a.name: a.domain.kind for a in call.family.signatures[call.signature].arguments}
            for name, e in call.args:
                whole = e.base if isinstance(e, m.Index) and not e.shape else e
                if isinstance(whole, m.Var) and domains[name] in DIRECT:
                    out[whole.name] = domains[name]
    return out


def _calls(dist: m.Dist) -> Iterator[m.FamilyCall]:
    if isinstance(dist, m.Branch):
        yield from (*_calls(dist.then), *_calls(dist.other))
    else:
        yield dist


def numbers(joint: LogJoint, facts: Known) -> tuple[Meaning, ...]:
    """What the `let`s that have names stand for where that is a number, opened to the last; the longest first.

    Of what is linear in latents its mean as well.
    """
    latents = {v.name for v in joint.model.of_kind("latent")}
    tensors, out = Tensors(joint.model), []
    for let in with_names(joint)[1]:
        if let.body.shape:
            continue
        scope, home, _ = tensors.enter(let.plates)
        own: dict[Ix, x.Idx] = {i: x.fresh(i.dim) for i in home}  # indices of its own, whatever others are called
        tensors.begin()
        body = x.substitute(tidy(tensors.element(let.body, (), scope), facts), own)
        places = tuple(i for i in own.values() if isinstance(i, Ix))
        for when, branch in _branches(body) if not tensors.gates else ():
            if len(x.children(branch)) > 0:
                out.append(Meaning(let.name, places, branch, False, when))
                out += [Meaning(let.name, places, mean, True, when) for mean in _means(branch, latents)]
    return tuple(sorted(out, key=lambda m: -len(repr(m.body))))


def _branches(body: Expr) -> Iterator[tuple[Expr | None, Expr]]:
    """What it is in either branch, with what is so there."""
    if isinstance(body, x.Where) and not isinstance(body.other, x.Where):
        yield body.cond, body.then
        yield x.fn("not", body.cond), body.other
    else:
        yield None, body


def _means(body: Expr, latents: set[str]) -> Iterator[Expr]:
    """The mean of what adds latents up, each beside what is none."""
    held = x.variables(body) & latents
    alone = [p for t in x.terms_of(body) for p in x.factors_of(t) if x.variables(p) & latents]
    if held and len(alone) <= len(x.terms_of(body)) and all(isinstance(p, x.El) and p.var in latents for p in alone):
        yield x.rebuild(body, lambda e: replace(e, var=MEAN.of(e.var)) if isinstance(e, x.El) and e in alone else None)


def matrices(model: m.ModelText) -> tuple[tuple[str, Ix, Ix, Expr], ...]:
    """The matrices that `let`s name, outside of all plates: the element at two indices."""
    out = []
    tensors = Tensors(model)
    for let in model.lets:
        if let.plates or len(let.body.shape) != 2 or not names_in(let.body):
            continue
        i, j = (x.fresh(str(d)) for d in let.body.shape)
        tensors.begin()
        scope, _, _ = tensors.enter(())
        body = tensors.element(let.body, (i, j), scope)
        if not tensors.gates:
            out.append((let.name, i, j, body))
    return tuple(out)
