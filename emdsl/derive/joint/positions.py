"""Conditions on positions around discrete latents: which of them is read is said by branches, wherever it was written.

    z[t] ~ Categorical(w if t == 0 else A[z[t-1]])     is     Categorical(w) if t == 0 else Categorical(A[z[t-1]])
    z[max(t-1, 0)]                                     is     z[t-1] if t >= 1 else z[0]
    F if t == 0 or z[t-1] == 0 else G                  is     F if t == 0 else F if z[t-1] == 0 else G

Inside an argument the condition is a number of each row, and every row ties its latent to one before it, the first
one too: no chain, but a network. What a branch says of a position is known in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import TypeVar

from emdsl.language import model as m
from emdsl.language.transform import loops_in, names_in

Chosen = TypeVar("Chosen", m.Branch, m.If)
Known = Mapping[str, tuple[float, float]]  # loop -> its lowest and its highest position
_NOT = {"eq": "ne", "ne": "eq", "lt": "ge", "le": "gt", "gt": "le", "ge": "lt"}
_FLIP = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}


@dataclass(frozen=True)
class _Around:
    """What is around a variable: its plates, latents with theirs, what data tell, lets that choose."""

    own: tuple[m.Plate, ...]
    latents: Mapping[str, tuple[m.Plate, ...]]
    discrete: frozenset[str]
    data: frozenset[str]
    lets: Mapping[str, m.Let]


def by_positions(model: m.ModelText) -> m.ModelText:
    """The model in which such conditions stand between distributions; itself where none stands in an argument."""
    latents = {v.name: v.plates for v in model.of_kind("latent")}
    discrete = _reading(frozenset(v.name for v in model.of_kind("latent") if v.domain.discrete), model.lets)
    data = frozenset(v.name for v in (*model.of_kind("given"), *model.of_kind("observed")))
    lets = {let.name: let for let in model.lets if let.plates and (_of_positions(let.body) or _chooses(let.body))}

    def branched(v: m.Variable) -> m.Variable:
        if v.distribution is None or not latents:
            return v
        around = _Around(v.plates, latents, discrete, data, lets)
        known: Known = {}
        for p in v.plates:
            known = known if p.condition is None else _learned(p.condition, True, known)
        return replace(v, distribution=_branched(v.distribution, around, known))

    variables = tuple(map(branched, model.variables))
    asked = tuple(replace(let, body=_asked(let.body, discrete)) for let in model.lets)
    same = variables == model.variables and asked == model.lets
    return model if same else replace(model, variables=variables, lets=asked)


def _reading(latents: frozenset[str], lets: Sequence[m.Let]) -> frozenset[str]:
    """These, and the `let`s that read one of them, be it through another."""
    found = latents | {let.name for let in lets if names_in(let.body) & latents}
    return found if found == latents else _reading(found, lets)


def _branched(dist: m.Dist, around: _Around, known: Known) -> m.Dist:
    if isinstance(dist, m.Branch):
        dist = _asked_first(dist, around.discrete)
        sure = _decided(dist.cond, known)
        if sure is not None:
            return _branched(dist.then if sure else dist.other, around, known)
        then, other = (
            _branched(d, around, _learned(dist.cond, holds, known))
            for d, holds in ((dist.then, True), (dist.other, False))
        )
        return replace(dist, then=then, other=other)
    written = tuple((n, _asked(_written_out(e, around), around.discrete)) for n, e in dist.args)
    args = tuple((n, _counted(_simplified(_opened(e, around), known), around, known)) for n, e in written)
    for choice in (c for _, e in args for c in _choices(e)):
        reads = (names_in(choice.then) | names_in(choice.other)) & around.discrete
        loops = loops_in(choice.cond)
        if reads and names_in(choice.cond) <= around.data and loops and loops <= {p.index for p in around.own}:
            then, other = (
                _branched(
                    replace(dist, args=tuple((n, _where(e, choice.cond, holds)) for n, e in args)),
                    around,
                    _learned(choice.cond, holds, known),
                )
                for holds in (True, False)
            )
            return m.Branch(choice.cond, then, other, choice.span)
    return dist if args == written else replace(dist, args=args)


def _asked(e: m.Expr, discrete: frozenset[str]) -> m.Expr:
    """The same of all conditionals of an expression."""
    match e:
        case m.If():
            first = _asked_first(e, discrete)
            return _rebuilt(first, lambda part: _asked(part, discrete))
        case m.Call() | m.Stack() | m.Index():
            return _rebuilt(e, lambda part: _asked(part, discrete))
    return e


def _asked_first(choice: Chosen, discrete: frozenset[str]) -> Chosen:
    """What a condition asks of data and positions asked before what it asks of discrete latents: where the first part
    decides, there may be no such latent."""
    match choice.cond:
        case m.Call(fn="not", args=(a,)):
            return _asked_first(replace(choice, cond=a, then=choice.other, other=choice.then), discrete)
        case m.Call(fn="and" | "or" as fn):
            parts = list(_operands(choice.cond, fn))
            first = [p for p in parts if not names_in(p) & discrete]
            rest = [p for p in parts if p not in first]
            if first and rest:
                cond, later = (_all_of(fn, own) for own in (first, rest))
                inner = replace(choice, cond=later)
                return replace(choice, cond=cond, other=inner) if fn == "or" else replace(choice, cond=cond, then=inner)
    return choice


def _operands(e: m.Expr, fn: str) -> Iterator[m.Expr]:
    if isinstance(e, m.Call) and e.fn == fn:
        for part in e.args:
            yield from _operands(part, fn)
    else:
        yield e


def _all_of(fn: str, parts: Sequence[m.Expr]) -> m.Expr:
    return reduce(lambda a, b: m.Call(fn, (a, b), (), a.span), parts)


# ------------------------------------------------------------------ what is known of positions


def _position(e: m.Expr) -> tuple[str, int] | None:
    """(t, c) of `t + c`; a number is ("", c)."""
    match e:
        case m.Loop(name=name):
            return name, 0
        case m.Num(value=int(c)):
            return "", c
        case m.Call(fn="add" | "sub" as fn, args=(a, b)):
            left, right = _position(a), _position(b)
            if left is None or right is None or (right[0] and (left[0] or fn == "sub")):
                return None
            return left[0] or right[0], left[1] + (right[1] if fn == "add" else -right[1])
    return None


def _compared(cond: m.Expr) -> tuple[str, str, int] | None:
    """(t, op, c) of a comparison of a position with a number: `t op c`."""
    if not isinstance(cond, m.Call) or cond.fn not in _NOT:
        return None
    left, right = _position(cond.args[0]), _position(cond.args[1])
    if left is None or right is None or bool(left[0]) == bool(right[0]):
        return None
    if left[0]:
        return left[0], cond.fn, right[1] - left[1]
    return right[0], _FLIP.get(cond.fn, cond.fn), left[1] - right[1]


def _decided(cond: m.Expr, known: Known) -> bool | None:
    """Whether a condition holds, where positions that are known tell."""
    match cond:
        case m.Call(fn="not", args=(a,)):
            inner = _decided(a, known)
            return None if inner is None else not inner
        case m.Call(fn="and" | "or" as fn, args=parts):
            each = [_decided(p, known) for p in parts]
            if (fn == "or") in each:
                return fn == "or"
            return None if None in each else fn == "and"
    found = _compared(cond)
    if found is None:
        return None
    (low, high), c = known.get(found[0], (0, math.inf)), found[2]
    match found[1]:
        case "eq" | "ne" as op:
            same = None if low <= c <= high else False
            same = True if low == high == c else same
            return same if same is None or op == "eq" else not same
        case "lt" | "ge" as op:
            below = True if high < c else False if low >= c else None
            return below if below is None or op == "lt" else not below
        case op:
            above = True if low > c else False if high <= c else None
            return above if above is None or op == "gt" else not above


def _learned(cond: m.Expr, holds: bool, known: Known) -> Known:
    """What is known of positions where a condition holds, or does not."""
    match cond:
        case m.Call(fn="not", args=(a,)):
            return _learned(a, not holds, known)
        case m.Call(fn="and" | "or" as fn, args=parts) if holds == (fn == "and"):
            for p in parts:
                known = _learned(p, holds, known)
            return known
    found = _compared(cond)
    if found is None:
        return known
    t, op, c = found
    low, high = known.get(t, (0, math.inf))
    match op if holds else _NOT[op]:
        case "eq":
            low, high = max(low, c), min(high, c)
        case "ne":
            low, high = low + (low == c), high - (high == c)
        case "lt" | "le" as way:
            high = min(high, c - (way == "lt"))
        case "gt" | "ge" as way:
            low = max(low, c + (way == "gt"))
    return {**known, t: (low, high)}


# ------------------------------------------------------------------ where choices stand


def _of_positions(e: m.Expr) -> bool:
    """Whether an expression is made of positions and numbers alone."""
    return all(isinstance(n, m.Loop | m.Num | m.Call | m.If) for n in m.walk(e)) and bool(loops_in(e))


def _written_out(e: m.Expr, around: _Around) -> m.Expr:
    """The expression with `let`s of its own row, or entries of them, as their bodies; those that are a part of a sum,
    say, where they read latents."""
    lets = around.lets
    match e:
        case m.Index(base=m.Var(name=name)) if name in lets:
            plates, body = lets[name].plates, lets[name].body
            here, rest = e.args[: len(plates)], e.args[len(plates) :]
            if len(here) == len(plates) and all(
                isinstance(i, m.Loop) and i.name == p.index for i, p in zip(here, plates, strict=True)
            ):
                body = _written_out(body, around)
                return m.Index(body, rest, e.shape, e.span) if rest else body
            return e
        case m.Index():
            return replace(e, args=tuple(_written_out(i, around) for i in e.args))
        case m.If() | m.Call() | m.Stack() if names_in(e) & around.discrete & lets.keys():
            return _rebuilt(e, lambda part: _written_out(part, around))
    return e


def _opened(e: m.Expr, around: _Around) -> m.Expr:
    """The expression with choices within the places of latents around these: `z[max(t-1, 0)]`."""
    match e:
        case m.Index(base=m.Var(name=name)) if name in around.latents:
            for k, i in enumerate(e.args):
                choice = _alternatives(i) if _of_positions(i) else None
                if choice is not None:
                    cond, then, other = choice
                    first, second = (
                        _opened(replace(e, args=(*e.args[:k], part, *e.args[k + 1 :])), around)
                        for part in (then, other)
                    )
                    return m.If(cond, first, second, e.shape, e.span)
            return e
        case m.If() | m.Call() | m.Stack() | m.Index():
            return _rebuilt(e, lambda part: _opened(part, around))
    return e


def _alternatives(e: m.Expr) -> tuple[m.Expr, m.Expr, m.Expr] | None:
    """(condition, then, otherwise) of a position that is one of two."""
    match e:
        case m.If():
            return e.cond, e.then, e.other
        case m.Call(fn="max" | "min" as fn, args=(a, b)):
            first, second = (b, a) if isinstance(a, m.Num) else (a, b)
            return m.Call("ge" if fn == "max" else "le", (first, second), (), e.span), first, second
        case m.Call(fn="abs", args=(a,)):
            return m.Call("ge", (a, m.Num(0, e.span)), (), e.span), a, m.Call("neg", (a,), (), e.span)
        case m.Call(fn="add" | "sub", args=parts):
            for k, p in enumerate(parts):
                found = _alternatives(p)
                if found is not None:
                    cond, *both = found
                    then, other = (replace(e, args=(*parts[:k], q, *parts[k + 1 :])) for q in both)
                    return cond, then, other
    return None


def _chooses(e: m.Expr) -> bool:
    return any(isinstance(n, m.If) or (isinstance(n, m.Call) and n.fn in ("max", "min", "abs")) for n in m.walk(e))


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


def _simplified(e: m.Expr, known: Known) -> m.Expr:
    """The expression without choices that known positions decide."""
    match e:
        case m.If():
            sure = _decided(e.cond, known)
            if sure is not None:
                return _simplified(e.then if sure else e.other, known)
            then, other = (
                _simplified(part, _learned(e.cond, holds, known)) for part, holds in ((e.then, True), (e.other, False))
            )
            return replace(e, then=then, other=other)
        case m.Call() | m.Stack() | m.Index():
            return _rebuilt(e, lambda part: _simplified(part, known))
    return e


def _counted(e: m.Expr, around: _Around, known: Known) -> m.Expr:
    """The expression with places of latents that are numbers counted from a row's own, where this is known:
    `z[0]` in row 1 is `z[t-1]`."""
    match e:
        case m.Index(base=m.Var(name=name)) if name in around.latents:
            plates = around.latents[name]
            here = [_from_row(i, p, around.own, known) for i, p in zip(e.args, plates, strict=False)]
            return replace(e, args=(*here, *e.args[len(here) :]))
        case m.If() | m.Call() | m.Stack() | m.Index():
            return _rebuilt(e, lambda part: _counted(part, around, known))
    return e


def _from_row(i: m.Expr, plate: m.Plate, own: Sequence[m.Plate], known: Known) -> m.Expr:
    for p in own:
        low, high = known.get(p.index, (0, math.inf))
        if isinstance(i, m.Num) and low == high and _named(p.size) == _named(plate.size):
            row, back = m.Loop(p.index, p.size, i.span), int(low - i.value)
            return m.Call("sub", (row, m.Num(back, i.span)), (), i.span) if back else row
    return i


def _named(size: m.Size) -> str:
    return size.name if isinstance(size, m.Ragged) else str(size)


def _where(e: m.Expr, cond: m.Expr, holds: bool) -> m.Expr:
    """The expression where a condition is known."""
    match e:
        case m.If() if e.cond == cond:
            return _where(e.then if holds else e.other, cond, holds)
        case m.If() | m.Call() | m.Stack() | m.Index():
            return _rebuilt(e, lambda part: _where(part, cond, holds))
    return e


def _rebuilt(e: m.If | m.Call | m.Stack | m.Index, part: Callable[[m.Expr], m.Expr]) -> m.Expr:
    """The expression of other parts; conditions stay as they are."""
    match e:
        case m.If():
            return replace(e, then=part(e.then), other=part(e.other))
        case m.Call():
            return replace(e, args=tuple(map(part, e.args)))
        case m.Stack():
            return replace(e, items=tuple(map(part, e.items)))
        case m.Index():
            return replace(e, base=part(e.base), args=tuple(map(part, e.args)))
