"""A model in which vectors and numbers have names that a reader can use: the same densities, spelt with more `let`s.

    y[i] ~ MvNormal(b[c[i]] + [0, d * x[i]], S)    is    y[i] ~ MvNormal(m[i, c[i]], S), m[i, k] = b[k] + [0, d * x[i]]

A mean that is put together of numbers has a name, and so has a matrix of them that is the same for all elements; what
reads a hidden state has an index for it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
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
    """The means and matrices that hold a list which is not all numbers, as `let`s."""
    taken = {*(v.name for v in model.variables), *(let.name for let in model.lets)}
    taken |= {p.index for v in model.variables for p in v.plates} | {
        n for s in model.sizes for n in (s.name, s.name.lower())
    }
    loops = {p.index for p in (q for v in model.variables for q in v.plates)}
    asked = [(v, [e for e in _arguments(v.distribution) if _put_together(*e, loops)]) for v in model.variables
             if v.distribution is not None]  # fmt: skip
    found = [v for v, own in asked if own]
    lets: list[m.Let] = []

    def named(v: m.Variable, dist: m.Dist) -> m.Dist:
        if isinstance(dist, m.Branch):
            return replace(dist, then=named(v, dist.then), other=named(v, dist.other))
        args = []
        for argument, e in dist.args:
            if _put_together(argument, e, loops):
                letter, plates = ("m", v.plates) if len(e.shape) == 1 else ("V", ())
                same = next((let.name for let in lets if let.body == e and not let.plates and not plates), None)
                base = letter if len(found) == 1 and letter not in taken else f"{letter}_{v.name}"
                name = same or next(n for n in (base + "_" * k for k in range(99)) if n not in taken)
                taken.add(name)
                if same is None:
                    lets.append(m.Let(name, plates, e))
                shape = (*(p.size for p in plates), *e.shape)
                at = tuple(m.Loop(p.index, p.size) for p in plates)
                e = m.Index(m.Var(name, shape), at, e.shape) if at else m.Var(name, shape)
            args.append((argument, e))
        return replace(dist, args=tuple(args))

    new = {v.name: replace(v, distribution=named(v, v.distribution)) for v in found if v.distribution is not None}
    variables = tuple(new.get(v.name, v) for v in model.variables)
    return replace(model, variables=variables, lets=(*model.lets, *lets)) if lets else model


def _arguments(dist: m.Dist) -> Iterator[tuple[str, m.Expr]]:
    if isinstance(dist, m.Branch):
        yield from (*_arguments(dist.then), *_arguments(dist.other))
    else:
        yield from dist.args


def _put_together(argument: str, e: m.Expr, loops: Collection[str]) -> bool:
    """Whether an argument is a vector that holds a list of numbers that are not all literal, or a matrix of such lists,
    or one scaled by vectors, that is the same for all elements."""
    if argument == "mean" and len(e.shape) == 1:
        return any(names_in(n) for n in m.walk(e) if isinstance(n, m.Stack) and len(n.shape) == 1)
    here = {n.name for n in m.walk(e) if isinstance(n, m.Loop)} & {*loops}
    made = isinstance(e, m.Stack) or (isinstance(e, m.Call) and _scaled(e))
    return made and len(e.shape) == 2 and bool(names_in(e)) and not here


def _scaled(e: m.Call) -> bool:
    """Whether a matrix is a product with a diagonal one: `diag(sd) @ R @ diag(sd)`."""
    parts = [a for a in e.args if isinstance(a, m.Call)]
    return e.fn == "matmul" and any(a.fn == "diag" or _scaled(a) for a in parts)


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
