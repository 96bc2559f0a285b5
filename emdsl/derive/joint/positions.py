"""Conditions on positions around discrete latents: which of them is read is said by branches, wherever it was written.

    z[t] ~ Categorical(w if t == 0 else A[z[t-1]])     is     Categorical(w) if t == 0 else Categorical(A[z[t-1]])

Inside an argument the condition is a number of each row, and every row ties its latent to one before it, the first
one too: no chain, but a network.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from emdsl.language import model as m
from emdsl.language.transform import loops_in, names_in


def by_positions(model: m.ModelText) -> m.ModelText:
    """The model in which such conditions stand between distributions; itself where none stands in an argument."""
    discrete = {v.name for v in model.of_kind("latent") if v.domain.discrete}
    lets = {let.name: let for let in model.lets if let.plates and any(True for _ in _choices(let.body))}
    variables = tuple(
        v
        if v.distribution is None or not discrete
        else replace(v, distribution=_branched(v.distribution, v, discrete, lets))
        for v in model.variables
    )
    return model if variables == model.variables else replace(model, variables=variables)


def _branched(dist: m.Dist, v: m.Variable, discrete: set[str], lets: Mapping[str, m.Let]) -> m.Dist:
    if isinstance(dist, m.Branch):
        then, other = (_branched(d, v, discrete, lets) for d in (dist.then, dist.other))
        return replace(dist, then=then, other=other)
    own, args = {p.index for p in v.plates}, tuple((n, _written_out(e, lets)) for n, e in dist.args)
    for choice in (c for _, e in args for c in _choices(e)):
        reads = (names_in(choice.then) | names_in(choice.other)) & discrete
        if reads and not names_in(choice.cond) and loops_in(choice.cond) and loops_in(choice.cond) <= own:
            then, other = (
                replace(dist, args=tuple((n, _decided(e, choice.cond, holds)) for n, e in args))
                for holds in (True, False)
            )
            then, other = (_branched(d, v, discrete, lets) for d in (then, other))
            return m.Branch(choice.cond, then, other, choice.span)
    return dist


def _written_out(e: m.Expr, lets: Mapping[str, m.Let]) -> m.Expr:
    """An argument that is a `let` of its own row, or an entry of one, as its body."""
    match e:
        case m.Index(base=m.Var(name=name)) if name in lets:
            plates, body = lets[name].plates, lets[name].body
            here, rest = e.args[: len(plates)], e.args[len(plates) :]
            if len(here) == len(plates) and all(
                isinstance(i, m.Loop) and i.name == p.index for i, p in zip(here, plates, strict=True)
            ):
                return m.Index(body, rest, e.shape, e.span) if rest else body
    return e


def _choices(e: m.Expr) -> Iterator[m.If]:
    """The conditionals of an expression, the outermost first, but for those under loops of its own."""
    match e:
        case m.If():
            yield e
            yield from _choices(e.then)
            yield from _choices(e.other)
        case m.Call(args=parts) | m.Stack(items=parts):
            for part in parts:
                yield from _choices(part)
        case m.Index():
            yield from _choices(e.base)
            for part in e.args:
                yield from _choices(part)


def _decided(e: m.Expr, cond: m.Expr, holds: bool) -> m.Expr:
    """The expression where a condition is known."""

    def again(part: m.Expr) -> m.Expr:
        return _decided(part, cond, holds)

    match e:
        case m.If() if e.cond == cond:
            return again(e.then if holds else e.other)
        case m.If():
            return replace(e, then=again(e.then), other=again(e.other))
        case m.Call():
            return replace(e, args=tuple(map(again, e.args)))
        case m.Stack():
            return replace(e, items=tuple(map(again, e.items)))
        case m.Index():
            return replace(e, base=again(e.base), args=tuple(map(again, e.args)))
    return e
