"""The step of a derivation that finds the posterior of a chain: its tables, and the sums forward and backward."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import Idx, Ix
from emdsl.derive.posteriors.block import Block
from emdsl.derive.posteriors.chains import Placed, behind
from emdsl.derive.posteriors.roles import Edge, Role, Start
from emdsl.report import formula as f
from emdsl.report.formula import Formula
from emdsl.report.gathered import gathered
from emdsl.report.indices import Names
from emdsl.report.page import Say, Show
from emdsl.report.squares import closed_squares
from emdsl.report.tidy import tidy
from emdsl.report.typeset import Typeset


def chain_lines(block: Block, placed: Sequence[Placed], t: Typeset) -> Iterator[Say | Show]:
    """Nodes, edges, and the recursions over them. `placed` are the block's terms with their roles, squares closed."""
    chain = block.chain
    assert chain is not None
    names = t.letters.extend({}, (*block.home, *chain.outer, *block.states, *block.gates, *chain.before))
    here, before = _event(block, 0, t, names), _events(block, t, names)
    yield Say("The density of all states is a product along the plate. The logs of its factors are, for one element")
    yield Show(f.Relation("=", _call("node", here), _sum(block, placed, "", t, names)), part="node")
    yield Say("for an element and those before it" if chain.depth > 1 else "for an element and the one before it")
    yield Show(f.Relation("=", _call("edge", *before, here), _sum(block, placed, Edge(), t, names)), part="edge")
    for position in range(chain.depth):
        yield Say("and at the start" if position == 0 else f"and at position {position}")
        here_first = _call("start", *_starts(block, position, t, names))
        yield Show(f.Relation("=", here_first, _sum(block, placed, Start(position), t, names)), part="start")
    yield Say(
        "The forward-backward algorithm (Baum et al. 1970): sums over all paths to an element, and from it (β is 1 at "
        "the last element), are taken step by step:"
    )
    yield from _recursions(block, t, names)
    yield Say("What a sequence leaves to the log-likelihood, or to the bound, is the sum over its last states")
    own = f.listed([f.at(f.Name(n), *t.places(chain.outer, names)) for n in block.latents])
    given = t.gates(block, {}, names)
    left = _call("A", f.Relation("|", own, f.Listed(tuple(given))) if given else own)
    yield Show(f.Relation("=", left, _left(block, t, names)), part="normaliser")
    yield Say(
        "In the code α and β are kept near 1, and the logs of what they are divided by are added up. With the largest "
        "term for each sum over states the way forward leads to the most probable states (Viterbi 1967)."
    )


def _recursions(block: Block, t: Typeset, names: Names) -> Iterator[Show]:
    chain = block.chain
    assert chain is not None
    here, before = _event(block, 0, t, names), _events(block, t, names)
    start = _starts(block, 0, t, names)
    begin = _exp(f.plus(_call("start", *start), _call("node", *start)))
    yield Show(f.Relation("=", _call("alpha", *start), begin), part="forward")
    weight = _exp(f.plus(_call("edge", *before, here), _call("node", here)))
    oldest, newest = block.chain.past[-1] if block.chain else (), block.states
    ahead = _over(oldest, f.times(weight, _call("alpha", *before)), t, names)
    yield Show(f.Relation("=", _call("alpha", *before[1:], here), ahead), part="forward")
    after = _over(newest, f.times(weight, _call("beta", *before[1:], here)), t, names)
    yield Show(f.Relation("=", _call("beta", *before), after), part="backward")
    both = f.times(_call("alpha", *before[1:], here), _call("beta", *before[1:], here))
    yield Show(f.Relation("∝", _call("q", *before[1:], here), both), part="posterior")
    pair = f.times(_call("alpha", *before), weight, _call("beta", *before[1:], here))
    yield Show(f.Relation("∝", _call("q", *before, here), pair), part="pairs")


def _left(block: Block, t: Typeset, names: Names) -> Formula:
    """`log sum_k alpha(z[T - 1] = k)`: what is left when all states of a sequence are summed out."""
    chain = block.chain
    assert chain is not None
    outer = t.places(chain.outer, names)
    row = t.letters.extend(names, (block.home[-1],))
    length = t.range(block.home[-1] if chain.ragged else chain.order, row)[-1][1]
    events = []
    for lag in reversed(range(chain.depth)):
        place = f.Plus(((False, length), (True, f.Number(str(1 + lag)))))
        states = chain.past[lag - 1] if lag else block.states
        events += [
            f.Relation("=", f.At(f.Name(n), (*outer, place)), f.Name(names[s]))
            for n, s in zip(block.latents, states, strict=True)
        ]
    summed = [s for lag in reversed(range(chain.depth)) for s in (chain.past[lag - 1] if lag else block.states)]
    return f.Apply(f.Word("log"), (_over(summed, _call("alpha", *events), t, names),))


def _call(name: str, *events: Formula) -> Formula:
    return f.Apply(f.Word(name), tuple(events))


def _exp(body: Formula) -> Formula:
    return f.Apply(f.Word("exp"), (body,))


def _over(states: Sequence[Ix], body: Formula, t: Typeset, names: Names) -> Formula:
    return f.Big(tuple(r for s in states for r in t.range(s, names)), None, body)


def _event(block: Block, lag: int, t: Typeset, names: Names, at: tuple[Idx, ...] | None = None) -> Formula:
    """`z[t - lag] = k`, of all latents of the block."""
    assert block.chain is not None
    places = at or behind(block.home, block.chain, lag)
    states = block.chain.past[lag - 1] if lag else block.states
    parts = [
        f.Relation("=", t.named_at(n, places, names), f.Name(names[s]))
        for n, s in zip(block.latents, states, strict=True)
    ]
    return parts[0] if len(parts) == 1 else f.Listed(tuple(parts))


def _events(block: Block, t: Typeset, names: Names) -> list[Formula]:
    """The states behind an element, the oldest first."""
    assert block.chain is not None
    return [_event(block, lag, t, names) for lag in range(block.chain.depth, 0, -1)]


def _starts(block: Block, position: int, t: Typeset, names: Names) -> list[Formula]:
    """`z[0] = k', z[1] = k`: the states from the start of a sequence to a position."""
    chain = block.chain
    assert chain is not None
    return [_event(block, position - p, t, names, (*chain.outer, p)) for p in range(position + 1)]


def _sum(block: Block, placed: Sequence[Placed], role: Role, t: Typeset, names: Names) -> Formula:
    """The sum of the terms of one role."""
    assert block.chain is not None
    held = {*block.home, *block.chain.outer, *block.states, *block.gates, *block.chain.before}
    parts = [x.totals([i for i in p.term.ixs if i not in held], p.term.body) for p in placed if p.role == role]
    return t.of(gathered(closed_squares(tidy(x.add(*parts), t.known))), names)
