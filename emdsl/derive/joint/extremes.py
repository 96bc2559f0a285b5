"""The least or the largest of two latents, seen: which of them it was is a discrete latent.

    p(min(a, b) = y)  =  p(a = y) p(b > y) + p(b = y) p(a > y)

Either addend is a density at a number and a tail, as of any time that is seen or censored. The new latent has
probability 1/2, and the factor 2 beside it takes that off again.
"""

from __future__ import annotations

from dataclasses import replace

from emdsl.derive.joint.spikes import is_point_mass
from emdsl.families import PRELUDE
from emdsl.language import model as m


def which_of_two(model: m.ModelText) -> m.ModelText:
    """`observed y ~ Delta(min(a, b))` as `Delta(a if w else b)`, w latent, beside `log(2 [b > y if w else a > y])`."""
    variables: list[m.Variable] = []
    potentials = list(model.potentials)
    for v in model.variables:
        found = _two(v, model)
        if found is None:
            variables.append(v)
            continue
        call, value, (a, b) = found
        own, w = _element(v, v.name), _which(v, a)
        chosen = m.Call("eq", (_element(v, w.name), m.Num(1)), (), v.span)
        beyond = "gt" if value.fn == "min" else "lt"
        other, this = (m.Call("log", (m.Call(beyond, (e, own), (), v.span),), (), v.span) for e in (b, a))
        twice, none = m.Call("log", (m.Num(2),), (), v.span), m.Num(0)  # by state, as terms of w
        branches = ((other, this), (twice, none), (none, twice))
        potentials += [m.Potential(m.If(chosen, one, two, (), v.span), v.plates, v.span) for one, two in branches]
        at = replace(call, args=((call.args[0][0], m.If(chosen, a, b, (), v.span)),))
        variables += [w, replace(v, distribution=at)]
    return replace(model, variables=tuple(variables), potentials=tuple(potentials))


def _two(
    v: m.Variable, model: m.ModelText
) -> tuple[m.FamilyCall, m.Call, tuple[m.Index | m.Var, m.Index | m.Var]] | None:
    """The point, and the two latents of its own row that it is the least or the largest of."""
    call = v.distribution
    if v.kind != "observed" or not v.domain.interval or v.shape != tuple(p.size for p in v.plates):
        return None
    if not isinstance(call, m.FamilyCall) or not is_point_mass(call.family):
        return None
    value = call.args[0][1]
    if not isinstance(value, m.Call) or value.fn not in ("min", "max") or len(value.args) != 2:
        return None
    a, b = value.args
    latent = {u.name for u in model.of_kind("latent") if u.domain.interval and u.plates == v.plates}
    names = [e.base.name for e in (a, b) if isinstance(e, m.Index) and isinstance(e.base, m.Var)]
    names += [e.name for e in (a, b) if isinstance(e, m.Var)]
    if len(set(names)) < 2 or not set(names) <= latent or not v.plates:
        return None
    if any(isinstance(e, m.Index) and [type(i) for i in e.args] != [m.Loop] * len(v.plates) for e in (a, b)):
        return None
    assert isinstance(a, m.Index | m.Var)
    assert isinstance(b, m.Index | m.Var)
    return call, value, (a, b)


def _which(v: m.Variable, a: m.Index | m.Var) -> m.Variable:
    base = a.base if isinstance(a, m.Index) else a
    assert isinstance(base, m.Var)
    half = m.FamilyCall(PRELUDE()["Bernoulli"], 0, (("p", m.Num(0.5)),), (), (), v.span)
    return m.Variable("latent", f"{v.name} is {base.name}", v.plates, (), m.Domain("bool"), half, span=v.span)


def _element(v: m.Variable, name: str) -> m.Expr:
    shape = tuple(p.size for p in v.plates)
    return m.Index(m.Var(name, shape), tuple(m.Loop(p.index, p.size) for p in v.plates), ())
