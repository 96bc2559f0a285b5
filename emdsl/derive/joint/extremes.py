"""The least or the largest of some latents, seen: which of them it was is a discrete latent.

    p(min(a, b, ...) = y)  =  p(a = y) p(b > y) ... + p(b = y) p(a > y) ... + ...

Each addend is a density at a number and tails, as of any time that is seen or censored. The new latent has the same
probability, 1/K, for each, and the factor K beside it takes that off again. Whether some of them were less than the
others, seen beside the least, is whether it was one of these. What is given among them (a limit, at which all are
censored) is one more of them: a point mass, where the others have tails.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from emdsl.derive.joint.spikes import is_point_mass
from emdsl.families import PRELUDE
from emdsl.language import model as m
from emdsl.language.transform import names_in

MIRRORED = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}
LESS = {"min": ("lt", "le"), "max": ("gt", "ge")}  # how the extreme of some compares with the others


@dataclass(frozen=True)
class Extreme:
    """`fn` of elements of the latents `of`, seen as `v`; `which` says which of them it was. The last may be a limit."""

    v: m.Variable
    fn: str
    of: tuple[m.Expr, ...]
    which: m.Variable

    def is_the(self, k: int) -> m.Expr:
        """Whether it was the k-th; of two, the latent is whether it was the first."""
        state = k if len(self.of) > 2 else 1 - k
        return m.Call("eq", (_element(self.v, self.which.name), m.Num(state)), (), self.v.span)


def which_of_several(model: m.ModelText) -> m.ModelText:
    """`observed y ~ Delta(min(a, b))` as `Delta(a if w else b)`, w latent, beside `log(2 [b > y if w else a > y])`."""
    found = {v.name: e for v in model.variables if (e := _extreme(v, model)) is not None}
    variables: list[m.Variable] = []
    potentials = list(model.potentials)
    for v in model.variables:
        extreme = found.get(v.name)
        if extreme is not None:
            potentials += _beside(extreme)
            variables.append(extreme.which)
            v = replace(v, distribution=_at(extreme))
        elif v.kind == "observed" and isinstance(v.distribution, m.FamilyCall) and is_point_mass(v.distribution.family):
            for e in found.values():
                v = _compared(v, e)
        variables.append(v)
    return replace(model, variables=tuple(variables), potentials=tuple(potentials))


def _at(extreme: Extreme) -> m.FamilyCall:
    """The point mass at the one that it was."""
    call, value = extreme.v.distribution, extreme.of[-1]
    assert isinstance(call, m.FamilyCall)
    for k, e in reversed(list(enumerate(extreme.of[:-1]))):
        value = m.If(extreme.is_the(k), e, value, (), extreme.v.span)
    return replace(call, args=((call.args[0][0], value),))


def _beside(extreme: Extreme) -> list[m.Potential]:
    """By state, as terms of w: that the others lie beyond, and the number of states."""
    v, none = extreme.v, m.Num(0)
    beyond = "gt" if extreme.fn == "min" else "lt"
    many = m.Call("log", (m.Num(len(extreme.of)),), (), v.span)
    out = []
    for k, e in enumerate(extreme.of):
        past = m.Call("log", (m.Call(beyond, (e, _element(v, v.name)), (), v.span),), (), v.span)
        for one, other in ((none, past), (many, none)):
            out.append(m.Potential(m.If(extreme.is_the(k), one, other, (), v.span), v.plates, v.span))
    return out


def _compared(v: m.Variable, extreme: Extreme) -> m.Variable:
    """A point mass at `a < b` or `a < min(b, c)` of these latents as one at which of them was the least."""

    def told(e: m.Expr) -> m.Expr | None:
        if not isinstance(e, m.Call) or e.fn not in MIRRORED:
            return None
        sides = [_parts(a, extreme.fn) for a in e.args]
        if sorted(map(repr, (*sides[0], *sides[1]))) != sorted(map(repr, extreme.of)):
            return None
        first = sides[0] if e.fn in LESS[extreme.fn] else sides[1]
        out: m.Expr = m.Num(0)
        for k in (k for k, a in enumerate(extreme.of) if a in first):
            out = extreme.is_the(k) if isinstance(out, m.Num) else m.Call("or", (out, extreme.is_the(k)), (), v.span)
        return out

    call = v.distribution
    assert isinstance(call, m.FamilyCall)
    value = told(call.args[0][1]) if v.plates == extreme.v.plates else None
    return v if value is None else replace(v, distribution=replace(call, args=((call.args[0][0], value),)))


def _parts(e: m.Expr, fn: str) -> tuple[m.Expr, ...]:
    """The elements that a least or largest is taken of, in one call or in several inside one another."""
    if isinstance(e, m.Call) and e.fn == fn and len(e.args) > 1:
        return tuple(part for a in e.args for part in _parts(a, fn))
    return (e,)


def _extreme(v: m.Variable, model: m.ModelText) -> Extreme | None:
    """What a variable is the least or the largest of: different latents of its own row."""
    call = v.distribution
    if v.kind != "observed" or not v.domain.interval or v.shape != tuple(p.size for p in v.plates) or not v.plates:
        return None
    if not isinstance(call, m.FamilyCall) or not is_point_mass(call.family):
        return None
    value = call.args[0][1]
    if not isinstance(value, m.Call) or value.fn not in LESS:
        return None
    parts = _parts(value, value.fn)
    of = tuple(e for e in parts if not _is_given(e, model))
    limits = tuple(e for e in parts if e not in of)
    latents = [u for u in model.of_kind("latent") if u.domain.interval and u.plates[: len(v.plates)] == v.plates]
    names = [_name(e, v, latents) for e in of]
    if len(of) < 2 or len(set(names)) < len(of) or "" in names:
        return None
    if limits:
        limit = limits[0] if len(limits) == 1 else m.Call(value.fn, limits, (), v.span)
        return Extreme(v, value.fn, (*of, limit), _which(v, [*names, "the limit"], model))
    return Extreme(v, value.fn, of, _which(v, names, model))


def _is_given(e: m.Expr, model: m.ModelText) -> bool:
    """Whether an expression holds what is given, sizes and numbers alone."""
    return names_in(e) <= {v.name for v in model.of_kind("given")}


def _name(e: m.Expr, v: m.Variable, latents: Sequence[m.Variable]) -> str:
    """The latent of which this is the element of the row, with the numbers of elements inside; "" where it is anything
    else."""
    if not isinstance(e, m.Index) or not isinstance(e.base, m.Var):
        return ""
    own, inside = e.args[: len(v.plates)], e.args[len(v.plates) :]
    known = any(u.name == e.base.name and len(u.plates) == len(e.args) for u in latents)
    if not known or any(not isinstance(i, m.Loop) for i in own) or any(not isinstance(i, m.Num) for i in inside):
        return ""
    return "_".join((e.base.name, *(f"{i.value:g}" for i in inside if isinstance(i, m.Num))))


def _which(v: m.Variable, names: Sequence[str], model: m.ModelText) -> m.Variable:
    name = f"{v.name}_is_{names[0]}" if len(names) == 2 else f"which_{v.name}_is"
    while name in {*(o.name for o in model.variables), *(e.name for e in model.lets), *(s.name for s in model.sizes)}:
        name += "_"
    bernoulli, categorical = PRELUDE()["Bernoulli"], PRELUDE()["Categorical"]
    if len(names) == 2:
        half = m.FamilyCall(bernoulli, 0, (("p", m.Num(0.5)),), (), (), v.span)
        says = f"is 1 where `{v.name}` is `{names[0]}`, 0 where it is `{names[1]}`"
        return m.Variable("latent", name, v.plates, (), m.Domain("bool"), half, says=says, span=v.span)
    many = m.Dim.of(len(names))
    share = m.Call("div", (m.Num(1), m.Num(len(names))), (), v.span)
    each = m.Stack((share,) * len(names), (many,))
    equal = m.FamilyCall(categorical, 0, (("p", each),), (), (("K", many),), v.span)
    domain = m.Domain("category", levels=many)
    listed = ", ".join(f"{k} for {n if ' ' in n else f'`{n}`'}" for k, n in enumerate(names))
    says = f"says which of them `{v.name}` is: {listed}"
    return m.Variable("latent", name, v.plates, (), domain, equal, says=says, span=v.span)


def _element(v: m.Variable, name: str) -> m.Expr:
    shape = tuple(p.size for p in v.plates)
    return m.Index(m.Var(name, shape), tuple(m.Loop(p.index, p.size) for p in v.plates), ())
