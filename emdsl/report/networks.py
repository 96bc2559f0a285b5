"""The step of a derivation for a network: what ties its elements, and how they are summed out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from emdsl.derive.algebra import expr as x
from emdsl.derive.joint.terms import Term
from emdsl.derive.plan import Plan
from emdsl.derive.posteriors.block import Block
from emdsl.derive.posteriors.networks import Clique, cliques_of
from emdsl.report import formula as f
from emdsl.report.page import Say, Show
from emdsl.report.tidy import tidy
from emdsl.report.typeset import Typeset


def network_steps(plan: Plan, block: Block, terms: Sequence[Term], t: Typeset) -> Iterator[Say | Show]:
    """The factors of the joint density of all states, by the places that they hold; `terms` have closed squares."""
    yield Say("The density of all states is a product of factors, each of a few elements. Their logs are")
    found = cliques_of(terms, block.latents, plan.joint.levels)
    for clique in found if not isinstance(found, str) else ():
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
        yield from _one_by_one(() if isinstance(found, str) else found, t)
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
        "What elements without ties leave is the log-normaliser; with the largest term for each sum the same leads to "
        "the most probable states. The order is chosen when data are bound, an element "
        "with the fewest ties first; in a tree that is one tie each, level by level."
    )


def _one_by_one(found: Sequence[Clique], t: Typeset) -> Iterator[Show]:
    """`log q(z[i] = k)` as the mean of its factors under q of the others, latent by latent."""
    shown: set[str] = set()
    for clique in found:
        latent, idx = clique.places[0]
        if latent in shown:
            continue
        shown.add(latent)
        names = t.letters.extend({}, (*clique.plates, *clique.states))
        event = f.Relation("=", t.named_at(latent, idx, names), f.Name(names[clique.states[0]]))
        held = f.Big(((f.Word("factors"), f.Word("")),), None, f.Mean(f.Word("factor"), event))
        left = f.Apply(f.Word("log"), (f.Apply(f.Word("q"), (event,)),))
        yield Show(f.Relation("=", left, f.plus(held, f.Word("const"))), part="posterior")
