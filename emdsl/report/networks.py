"""The step of a derivation for a network: what ties its elements, and how they are summed out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import DataIx, El, Expr, Idx, Ix
from emdsl.derive.plan import Plan
from emdsl.derive.posteriors.block import Block
from emdsl.derive.posteriors.networks import Clique
from emdsl.language import model as m
from emdsl.language.transform import expressions_of, names_in
from emdsl.report import formula as f
from emdsl.report.formula import Formula
from emdsl.report.page import Say, Show
from emdsl.report.tidy import tidy
from emdsl.report.typeset import Typeset


def network_steps(plan: Plan, block: Block, found: Sequence[Clique], t: Typeset) -> Iterator[Say | Show]:
    """The factors of the joint density of all states, by the places that they hold; squares in `found` are closed."""
    yield Say("The density of all states is a product of factors, each of a few elements. Their logs are")
    for clique in found:
        names = t.letters.extend({}, (*clique.plates, *clique.states))
        held = {*clique.plates, *clique.states}
        parts = [x.totals([i for i in p.ixs if i not in held], x.mul(*clique.masks, p.body)) for p in clique.terms]
        states = [
            f.Relation("=", t.named_at(latent, idx, names), f.Name(names[s]))
            for (latent, idx), s in zip(clique.places, clique.states, strict=True)
        ]
        value = t.of(x.add(*(tidy(e, t.known) for e in parts)), names)
        yield Show(f.Relation("=", f.Apply(f.Word("factor"), tuple(states)), value), part="factors")
    if block.apart:
        yield Say(
            "q is a product over elements: the probability of elements together is the product of theirs. One is taken "
            "after the other, with the factors that hold it averaged over the elements that they hold beside it:"
        )
        yield from _one_by_one(plan, block, found, t)
        return
    yield from _summed_out(t)


def _summed_out(t: Typeset) -> Iterator[Say | Show]:
    """Forward and backward: an element leaves `log sum_u exp(...)`, and given its ties q is its share of that."""
    free = [c for c in "uvwabcxyzfgopqrst" if c not in t.letters.taken]
    u = f.Name(free[0] if free else "u'")
    ties = f.of("ties", u)
    held = f.Big(((f.Word("factors"), f.Word("")),), None, f.of("factor", u, ties))
    left = f.of("left", ties)
    yield Say(
        f"Elements are summed out one after the other. Let `{u.text}` be the next one, and ties({u.text}) those that "
        "some factor ties it to. Of all its factors it leaves one of these,"
    )
    summed = f.Apply(f.Word("log"), (f.Big(((u, f.Word("")),), None, f.of("exp", held)),))
    yield Show(f.Relation("=", left, summed), part="forward")
    yield Say("and backward, given these, it has the share")
    yield Show(f.Relation("=", f.of("q", f.Relation("|", u, ties)), f.of("exp", f.less(held, left))), part="backward")
    yield Say(
        "What elements without ties leave is the log-normaliser A; with the largest term for each sum the same leads "
        "to the most probable states. The order is chosen when data are bound, an element "
        "with the fewest ties first; in a tree that is one tie each, level by level."
    )


def _one_by_one(plan: Plan, block: Block, found: Sequence[Clique], t: Typeset) -> Iterator[Say | Show]:
    """`log q(z[i] = k)` as the mean of its factors under q of the others, worked out where it is told which elements
    these are."""
    general = f.Relation("=", _log_q(f.Word("u")), f.plus(f.Big(((f.Word("factors"), f.Word("")),), None,
                         f.Mean(f.Word("factor"), f.Word("u"))), f.Word("const")))  # fmt: skip
    plates = plan.joint.as_written.model.variable(block.name).plates
    home = tuple(x.fresh(str(p.size)) for p in plates)
    state = block.states[0]
    alone = len(block.latents) == 1 and not any(isinstance(p.size, m.Ragged) for p in plates)
    parts = [_averaged(plan, block, clique, home) for clique in found] if alone else [None]
    whole = [e for e in parts if e is not None]
    if not found or len(whole) < len(parts):
        yield Show(general, part="posterior")
        return
    names = t.letters.extend({}, (*home, state))
    event = f.Relation("=", t.named_at(block.name, home, names), f.Name(names[state]))
    value = t.of(tidy(x.add(*(tidy(e, t.known) for e in whole)), t.known), names)
    yield Show(f.Relation("=", _log_q(event), f.plus(value, f.Word("const"))), part="posterior")


def _log_q(event: Formula) -> Formula:
    return f.Apply(f.Word("log"), (f.Apply(f.Word("q"), (event,)),))


def _averaged(plan: Plan, block: Block, clique: Clique, home: tuple[Ix, ...]) -> Expr | None:
    """What the factors of a clique come to for one element in one state; None where they may hold it twice in more
    ways than two."""
    places = [idx for _, idx in clique.places]
    value = x.add(*(x.totals([i for i in p.ixs if i not in (*clique.plates, *clique.states)], p.body)
                    for p in clique.terms))  # fmt: skip
    value = x.rebuild(x.mul(*clique.masks, value), _one_state)
    apart = {
        (a, b): _told_apart(plan, block, clique, places[a], places[b]) for a, b in permutations(range(len(places)), 2)
    }
    if None in apart.values() or (len(places) > 2 and any(e != x.ONE for e in apart.values())):
        return None
    out: list[Expr] = []
    for at, own in enumerate(places):
        others = [n for n in range(len(places)) if n != at]
        told = (e for n in others if (e := apart[at, n]) is not None)
        mass = (x.Fn("q", (x.Sel(El(block.name, tuple(places[n])), clique.states[n]),)) for n in others)
        rest = x.totals([clique.states[n] for n in others], x.mul(*told, *mass, value))
        out.append(_there(rest, clique.states[at], own, block, clique, home))
    if any(e != x.ONE for e in apart.values()):  # the element itself, at both
        alike = x.substitute(value, {clique.states[1]: clique.states[0]})
        same = x.mul(*map(_same, *places), alike)
        out.append(_there(same, clique.states[0], places[0], block, clique, home))
    return x.add(*out)


def _one_state(e: Expr) -> Expr | None:
    """`[k = l]` of two states as what a sum over one of them takes up."""
    match e:
        case x.Fn("eq", (x.Val(a), x.Val(b))) if a.dim == b.dim:
            return x.delta(a, b)
    return None


def _there(held: Expr, state: Ix, place: Sequence[Idx], block: Block, clique: Clique, home: tuple[Ix, ...]) -> Expr:
    """The sum over a clique's plates where one of its places is the element of the block."""
    to: dict[Ix, Idx] = {state: block.states[0]}
    at: list[Expr] = []
    left = list(clique.plates)
    for i, there in zip(place, home, strict=True):
        if isinstance(i, Ix) and i in left:
            to[i] = there
            left.remove(i)
        else:
            at.append(x.substitute(x.sel(x.value_of(i), there), to))
    return x.totals(left, x.mul(*at, x.substitute(held, to)))


def _same(a: Idx, b: Idx) -> Expr:
    return x.delta(a, b) if isinstance(a, Ix) and isinstance(b, Ix) else x.fn("eq", x.value_of(a), x.value_of(b))


def _equal(a: Idx, b: Idx) -> Expr:
    return x.Fn("eq", (x.value_of(a), x.value_of(b)))


def _told_apart(plan: Plan, block: Block, clique: Clique, one: Sequence[Idx], other: Sequence[Idx]) -> Expr | None:
    """1 where two places are never one element, else the condition for it; None where that is of several axes.

    What a latent's own distribution reads of its array is another element: the graph has no cycles.
    """
    axes = [(a, b) for a, b in zip(one, other, strict=True) if a != b]
    said = {
        e.args[0] if e.name == "not" else x.Fn("eq", e.args)
        for p in clique.masks
        for e in x.factors_of(p)
        if isinstance(e, x.Fn) and e.name in ("not", "ne", "lt", "gt")
    }
    for a, b in axes:
        gap = x.add(x.value_of(a), x.neg(x.value_of(b)))
        if isinstance(gap, x.Num) or {_equal(a, b), _equal(b, a)} & said or _reads_itself(plan, block.name, a, b):
            return x.ONE
    return x.fn("not", _equal(*axes[0])) if len(axes) == 1 else None


def _reads_itself(plan: Plan, name: str, *at: Idx) -> bool:
    own = plan.joint.as_written.model.variable(name).distribution
    read = own is not None and any(name in names_in(e) for e in expressions_of(own))
    return read and any(isinstance(i, DataIx) for i in at)
