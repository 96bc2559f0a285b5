"""A model in which vectors and numbers have names that a reader can use: the same densities, spelt with more `let`s.

    y[i] ~ MvNormal(b[c[i]] + [0, d * x[i]], S)    is    y[i] ~ MvNormal(m[i, c[i]], S), m[i, k] = b[k] + [0, d * x[i]]

A mean that is put together of numbers has a name, and what reads a hidden state has an index for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache

from emdsl.language import model as m
from emdsl.language.dims import Dim, Size
from emdsl.language.transform import names_in

Rewriting = Callable[[m.Expr], m.Expr | None]


@lru_cache(maxsize=128)
def spelled(model: m.ModelText) -> m.ModelText:
    """The model so; itself where nothing is to be named."""
    out = _vectors_named(model)
    hidden = {v.name: size for v in model.of_kind("latent") if (size := _states(v)) is not None}
    for let in out.lets if hidden else ():
        out = _by_state(out, let.name, hidden)
    return out


def _vectors_named(model: m.ModelText) -> m.ModelText:
    """The means that hold a list which is not all numbers, as `let`s."""
    taken = {*(v.name for v in model.variables), *(let.name for let in model.lets)}
    taken |= {p.index for v in model.variables for p in v.plates} | {s.name.lower() for s in model.sizes}
    found = [
        v for v in model.variables if v.distribution is not None and any(map(_put_together, _means(v.distribution)))
    ]
    lets: list[m.Let] = []

    def named(v: m.Variable, dist: m.Dist) -> m.Dist:
        if isinstance(dist, m.Branch):
            return replace(dist, then=named(v, dist.then), other=named(v, dist.other))
        args = []
        for argument, e in dist.args:
            if argument == "mean" and _put_together(e):
                base = "m" if len(found) == 1 and "m" not in taken else f"m_{v.name}"
                name = next(n for n in (base + "_" * k for k in range(99)) if n not in taken)
                taken.add(name)
                lets.append(m.Let(name, v.plates, e))
                shape = (*(p.size for p in v.plates), *e.shape)
                loops = tuple(m.Loop(p.index, p.size) for p in v.plates)
                e = m.Index(m.Var(name, shape), loops, e.shape) if loops else m.Var(name, shape)
            args.append((argument, e))
        return replace(dist, args=tuple(args))

    new = {v.name: replace(v, distribution=named(v, v.distribution)) for v in found if v.distribution is not None}
    variables = tuple(new.get(v.name, v) for v in model.variables)
    return replace(model, variables=variables, lets=(*model.lets, *lets)) if lets else model


def _means(dist: m.Dist) -> Iterator[m.Expr]:
    if isinstance(dist, m.Branch):
        yield from (*_means(dist.then), *_means(dist.other))
    else:
        yield from (e for name, e in dist.args if name == "mean")


def _put_together(e: m.Expr) -> bool:
    """Whether an expression is a vector and holds a list of numbers that are not all literal."""
    lists = [n for n in m.walk(e) if isinstance(n, m.Stack) and len(n.shape) == 1] if len(e.shape) == 1 else []
    return any(names_in(n) for n in lists)


def _states(v: m.Variable) -> Size | None:
    """How many states a discrete latent has, where that is one number for all its elements."""
    if v.domain.kind == "bool":
        return Dim.of(2)
    levels = v.domain.levels if v.domain.kind in ("category", "index") else None
    return None if isinstance(levels, m.Ragged) else levels


def _by_state(model: m.ModelText, name: str, hidden: Mapping[str, Size]) -> m.ModelText:
    """The model in which a `let` that reads hidden states has an index for each of them."""
    let = next(own for own in model.lets if own.name == name)
    own = {p.index for p in let.plates}
    inner = {n.index for n in m.walk(let.body) if isinstance(n, m.Each | m.SumOver)}
    states = list(dict.fromkeys(n for n in m.walk(let.body) if _is_state(n, hidden)))
    if not states or inner & {n.name for s in states for n in m.walk(s) if isinstance(n, m.Loop)}:
        return model
    taken = own | inner | {v.name for v in model.variables} | {v.name for v in model.lets}
    letters = [c for c in "kjlirst" if c not in taken]
    if len(letters) < len(states):
        return model
    plates = tuple(m.Plate(c, hidden[_name(s)]) for c, s in zip(letters, states, strict=False))
    loops = {s: m.Loop(p.index, p.size) for s, p in zip(states, plates, strict=True)}
    new = m.Let(
        name, (*let.plates, *plates), rewritten(let.body, lambda e: loops.get(e) if _is_state(e, hidden) else None)
    )

    def read(e: m.Expr) -> m.Expr | None:
        if isinstance(e, m.Index) and isinstance(e.base, m.Var) and e.base.name == name:
            args = [rewritten(a, read) for a in e.args]
            here, rest = args[: len(let.plates)], args[len(let.plates) :]
            at = {p.index: a for p, a in zip(let.plates, here, strict=True)}
            asked = [rewritten(s, lambda n: at.get(n.name) if isinstance(n, m.Loop) else None) for s in states]
            return m.Index(m.Var(name, new.shape), (*here, *asked, *rest), e.shape)
        return (
            m.Index(m.Var(name, new.shape), tuple(states), e.shape) if isinstance(e, m.Var) and e.name == name else None
        )

    lets = tuple(new if v.name == name else replace(v, body=rewritten(v.body, read)) for v in model.lets)
    variables = tuple(
        v if v.distribution is None else replace(v, distribution=_in_all(v.distribution, read)) for v in model.variables
    )
    potentials = tuple(replace(p, expression=rewritten(p.expression, read)) for p in model.potentials)
    return replace(model, lets=lets, variables=variables, potentials=potentials)


def _is_state(e: m.Expr, hidden: Mapping[str, Size]) -> bool:
    whole = e.base if isinstance(e, m.Index) else e
    return not e.shape and isinstance(whole, m.Var) and whole.name in hidden


def _name(e: m.Expr) -> str:
    whole = e.base if isinstance(e, m.Index) else e
    assert isinstance(whole, m.Var)
    return whole.name


def _in_all(dist: m.Dist, step: Rewriting) -> m.Dist:
    if isinstance(dist, m.Branch):
        then, other = (_in_all(d, step) for d in (dist.then, dist.other))
        return replace(dist, cond=rewritten(dist.cond, step), then=then, other=other)
    return replace(dist, args=tuple((n, rewritten(e, step)) for n, e in dist.args))


def rewritten(e: m.Expr, step: Rewriting) -> m.Expr:
    """The expression, from outside to inside, with what `step` puts in the place of parts."""
    found = step(e)
    if found is not None:
        return found

    def again(part: m.Expr) -> m.Expr:
        return rewritten(part, step)

    match e:
        case m.Index():
            return replace(e, base=again(e.base), args=tuple(map(again, e.args)))
        case m.Call():
            return replace(e, args=tuple(map(again, e.args)))
        case m.If():
            return replace(e, cond=again(e.cond), then=again(e.then), other=again(e.other))
        case m.Stack():
            return replace(e, items=tuple(map(again, e.items)))
        case m.Each():
            return replace(e, body=again(e.body))
        case m.SumOver():
            return replace(e, cond=None if e.cond is None else again(e.cond), body=again(e.body))
    return e
